"""The shape check itself, on small shapes and on the tables."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.contract.shape import (
    Leaf,
    Many,
    Obj,
    Shape,
    assert_shape,
    leaves,
    maybe,
    misfits,
    sure,
)
from tests.contract.shapes import SHAPES
from tests.contract.shapes_reference import REFERRING_TO

INNER = Obj(leaves("name"))
OUTER = Obj(
    {"id": Leaf.ID, "inner": maybe(INNER), "sure": INNER, "set": Many(INNER), "viewed": Leaf.FLAG}
)
FITTING = {"id": "1", "inner": None, "sure": {"name": None}, "set": [{"name": "a"}], "viewed": 0}


def test_fitting_object() -> None:
    assert_shape(FITTING, OUTER)


def test_every_misfit_is_reported_at_once() -> None:
    data: dict[str, object] = {
        "id": None,
        "inner": {},
        "sure": None,
        "set": [{"name": 1}, 2],
        "more": 1,
    }
    assert list(misfits(data, OUTER)) == [
        "$.data.more: no key of this object",
        "$.data.id: None is not a string, never null",
        "$.data.inner.name: missing",
        "$.data.sure: None is not an object",
        "$.data.set[0].name: 1 is not a string or null",
        "$.data.set[1]: 2 is not an object",
        "$.data.viewed: missing",
    ]


def test_what_is_sure_is_not_null() -> None:
    assert list(misfits(None, sure(maybe(INNER)))) == ["$.data: None is not an object"]
    assert list(misfits(None, maybe(sure(INNER)))) == []


def test_sets_are_never_null() -> None:
    assert list(misfits(None, Many(INNER))) == ["$.data: None is not an array"]


def test_fields_cut_the_top_level_only() -> None:
    wanted = frozenset({"id", "sure", "unknown", "name"})
    assert_shape({"id": "1", "sure": {"name": None}}, OUTER, wanted)
    assert_shape([{"id": "1", "sure": {"name": None}}], Many(OUTER), wanted)
    with pytest.raises(AssertionError, match=r"\$\.data\.viewed: no key"):
        assert_shape({"id": "1", "sure": {"name": None}, "viewed": 1}, OUTER, wanted)


@pytest.mark.parametrize(
    ("leaf", "good", "bad"),
    [
        (Leaf.ID, ["1"], [None, "", 1]),
        (Leaf.TEXT, ["", None], [0, [], {}]),
        (Leaf.NUMBER, [0, 497.41, None], ["1", True]),
        (Leaf.FLAG, [0, 1], [True, 2, None, "1"]),
        (Leaf.BOOLEAN, [True, False, None], [0, "true"]),
    ],
)
def test_leaves(leaf: Leaf, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if any(misfits(value, leaf))] == []
    assert [value for value in bad if not any(misfits(value, leaf))] == []


@pytest.mark.parametrize(
    ("method", "count"),
    [
        ("communications/show", 38),
        ("communications/complete", 7),
        ("communications/queue/show", 8),
        ("contact_information/show", 56),
        ("contact_information/create", 11),
        ("contact_information/profile_photo/view", 3),
        ("access_tokens/create", 28),
        ("access_tokens/reset_pass_code", 7),
        ("access_tokens/reset_verification_code", 7),
        ("access_tokens/generate_otp", 4),
        ("service_requests/create", 47),
    ],
)
def test_number_of_keys(method: str, count: int) -> None:
    shape: Shape = SHAPES[method]
    assert isinstance(shape, Obj)
    assert len(shape.keys) == count


def test_every_method_has_a_shape() -> None:
    resources = Counter(method.partition("/")[0] for method in SHAPES)
    assert resources == {
        "communications": 13,
        "contact_information": 7,
        "access_tokens": 11,
        "service_requests": 22,
    }


def test_nineteen_kinds_can_be_referred_to() -> None:
    assert len(REFERRING_TO) == 19
    assert all(isinstance(kind, Obj) and kind.nullable for kind in REFERRING_TO.values())
