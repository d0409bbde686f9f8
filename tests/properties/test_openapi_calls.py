"""Requests made from the served OpenAPI description: it may promise nothing that makes us fail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case as AnyCase

from services.pipeline.method import BASE, METHODS
from tests.properties.conftest import Playground
from tests.properties.test_requests import assert_contract

Case = AnyCase[Any]
EXAMPLES = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The operations of the description once it was fetched, by path."""
    return {}


async def operations(playground: Playground) -> dict[str, Any]:
    status, document, _ = await playground.service.send("GET", "/openapi.json")
    assert status == 200
    schema = schemathesis.openapi.from_dict(document)
    return {found.ok().path: found.ok() for found in schema.get_all_operations()}  # type: ignore[union-attr]


def authorised(case: Case, token: str) -> Case:
    """The case with a session's token where its method takes it."""
    if case.method.upper() == "GET":
        case.query = {**(case.query or {}), "token": token}
    elif isinstance(case.body, dict):
        case.body = {**case.body, "token": token}
    return case


@pytest.mark.parametrize("path", METHODS)
async def test_described_requests_are_answered(
    playground: Playground, described: dict[str, Any], path: str
) -> None:
    method = METHODS[path]
    if not described:
        described |= await operations(playground)
    token = await playground.fresh_token() if method.targets_session else playground.api.token

    @EXAMPLES
    @given(case=described[BASE + path].as_strategy())
    def answered(case: Case) -> None:
        answer = authorised(case, token).call(base_url=playground.service.url)
        assert_contract(method, answer.status_code, json.loads(answer.content))

    # The service runs in this event loop: its caller must wait elsewhere.
    await asyncio.to_thread(answered)
