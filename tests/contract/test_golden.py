"""Every published example, played against the real service over HTTP.

Each answer is checked twice: against the golden file, value by value, and against the shape of
its method, which knows nothing of golden files.
"""

from __future__ import annotations

import pytest

from tests.contract.matching import differences
from tests.contract.scenes import Api, Case, Scene, cases, requested_fields
from tests.contract.shapes import NOTHING, SHAPES, STATUS, assert_shape


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
async def test_golden(api: Api, case: Case) -> None:
    scene = Scene(api)
    await scene.prepare(case.given)
    answer = await scene.perform(case.call)
    found = differences(scene.resolve(case.response), answer)
    assert not found, "\n".join([case.content["title"], *found])
    assert_shape(answer["status"], STATUS)
    if answer["status"]["code"] == "OK":
        assert_shape(answer["data"], SHAPES[case.method], requested_fields(case.call))
    else:
        assert_shape(answer["data"], NOTHING)
