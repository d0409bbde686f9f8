"""No request makes the service fail: whatever is sent, a contract's answer comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import FormData
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from domain.errors import CATALOGUE
from services.pipeline.method import BASE, METHODS, Method
from tests.contract.shapes import NOTHING, SHAPES, STATUS, assert_shape
from tests.properties.conftest import Playground
from tests.properties.requests import Sent, bodies, forms, queries

CODES = {error.code: error for error in CATALOGUE.values()}
REPEATED = {CATALOGUE["INVALIDREQUEST"].code: (422,), CATALOGUE["CONCURRENTUPDATE"].code: (409,)}
"""Further HTTP statuses of calls with an idempotency key (common.md, section 13)."""
FAILURES = {CATALOGUE["INTERNALERROR"].code, CATALOGUE["SERVICEUNAVAILABLE"].code}
PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)


async def answered(playground: Playground, method: Method, sent: Sent) -> tuple[int, Any]:
    """HTTP status and body of one request."""
    url = URL(f"{playground.service.url}{BASE}{method.path}?{sent.query}", encoded=True)
    data: Any = sent.body
    if method.multipart:
        data = FormData()
        for name, value in sent.form:
            data.add_field(name or "x", value)
        data.add_field("file", PIXEL, filename="p.gif", content_type="image/gif")
    headers = {"Idempotency-Key": sent.key} if sent.key else {}
    http = playground.service.http
    async with http.request(method.verb, url, data=data, headers=headers) as answer:
        assert answer.content_type == "application/json", await answer.read()
        return answer.status, json.loads(await answer.read())


def assert_contract(method: Method, status: int, answer: Any) -> None:
    """The envelope of common.md, section 2, with a code of section 12 and its HTTP status."""
    assert set(answer) == {"status", "data"}
    assert_shape(answer["status"], STATUS)
    code = answer["status"]["code"]
    if code == "OK":
        assert answer["status"] == {"code": "OK", "message": "", "description": ""}
        assert status == 200
        assert isinstance(answer["data"], list if method.is_list else dict)
    else:
        assert code not in FAILURES, answer
        assert status in {CODES[code].status, *REPEATED.get(code, ())}
        assert answer["status"]["message"]
        assert_shape(answer["data"], NOTHING)
    assert '{"$' not in json.dumps(answer["data"], separators=(",", ":"))


@pytest.mark.parametrize("path", METHODS)
@given(data=st.data())
async def test_any_request_is_answered(playground: Playground, path: str, data: Any) -> None:
    method = METHODS[path]
    token = playground.api.token
    if method.targets_session:
        token = await playground.fresh_token()
    kind = forms if method.multipart else queries if method.verb == "GET" else bodies
    sent = data.draw(kind(method, token))
    status, answer = await answered(playground, method, sent)
    assert_contract(method, status, answer)
    assert status not in (409, 422) or sent.key
    if answer["status"]["code"] == "OK" and path in SHAPES and b"fields_set" not in raw(sent):
        assert_shape(answer["data"], SHAPES[path])


def raw(sent: Sent) -> bytes:
    return (sent.body or b"") + sent.query.encode() + json.dumps(sent.form).encode()


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**300, 1e300])
async def test_any_number_may_stand_beside_an_idempotency_key(
    playground: Playground, number: float
) -> None:
    """What makes two requests the same is reckoned from numbers of any size."""
    sent = Sent(key=f"number {type(number)} {number:.3g}")
    for name, expected in (("unknown", 200), ("unknown", 200), ("other", 422)):
        text = json.dumps({"token": playground.api.token, "type": "PERSON", name: number})
        sent.body = f'{text[:-1]},"first_name":"A","last_name":"{number:.3g}"}}'.encode()
        status, answer = await answered(playground, METHODS["contact_information/create"], sent)
        assert (status, answer["status"]["code"] == "OK") == (expected, expected == 200), answer
