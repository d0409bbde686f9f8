"""Bodies: contract common.md, sections 1 and 1.1."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest
import pytest_asyncio

from infra.http.api.routes import FORM_LIMIT, JSON_LIMIT
from services.pipeline.method import BASE, METHODS
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service, _form, refusal

Json = dict[str, Any]
UPDATE, PHOTO = "communications/update", "contact_information/profile_photo/add"
POSTS = [path for path, method in METHODS.items() if method.verb == "POST"]
FORMS = [path for path in POSTS if METHODS[path].multipart]


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    own = await communications_client(service)
    own.api.token = await own.api.login()
    return own


async def post(
    client: CommunicationsClient,
    body: bytes,
    path: str = UPDATE,
    content_type: str | None = "application/json",
) -> tuple[int, Json]:
    headers = {} if content_type is None else {"Content-Type": content_type}
    status, answer, _ = await client.api.service.send(
        "POST", BASE + path, data=io.BytesIO(body), headers=headers
    )
    return status, answer


async def draft_body(client: CommunicationsClient) -> tuple[Json, Json]:
    draft = await client.create_draft()
    named = {"id": draft["id"]}
    return draft, {"token": client.api.token, "communication_identifier": named, "notes": "é"}


TYPES = [
    "application/json",
    "application/json; charset=utf-8",
    "application/jason",
    "appliction/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/octet-stream",
    "multipart/mixed; boundary=x",
    "multipart/form-data2",
    "nonsense",
    "",
    "application/json; charset=latin-1",
]


@pytest.mark.parametrize("content_type", TYPES)
async def test_json_whatever_the_type_says(client: CommunicationsClient, content_type: str) -> None:
    _, body = await draft_body(client)
    raw = json.dumps(body, ensure_ascii=False).encode()
    status, answer = await post(client, raw, content_type=content_type)
    assert (status, answer["data"].get("notes")) == (200, "é")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", [b"", b"{}", b" {} ", b"[]", b"\xef\xbb\xbf{}"])
async def test_an_empty_body_is_an_empty_object(
    client: CommunicationsClient, path: str, body: bytes
) -> None:
    status, answer = await post(client, body, path)
    if path in FORMS:
        assert (status, refusal(answer)[0]) == (400, "INVALIDREQUEST")
    else:
        assert status == 200
        names = ("INVALIDTOKEN", "MANDATORYPARAMETER", "INVALIDWEBAPIKEY")
        assert refusal(answer)[0] in names


ACCEPTED: dict[str, str] = {
    "a comma after the last member": '{"token":"%s","communication_identifier":{"id":"%s",},"notes":"x",}',
    "a comma after the last element": '{"token":"%s","communication_identifier":{"id":"%s"},"notes":"x","y":[1,2,]}',
    "leading zeros": '{"token":"%s","communication_identifier":{"id":"%s"},"notes":"x","udf_float_1":007}',
    "a repeated key": '{"notes":"first","token":"%s","communication_identifier":{"id":"%s"},"notes":"x"}',
    "blanks": ' \t\r\n{ "token" : "%s" ,\n"communication_identifier":{"id":"%s"},"notes":"x"}\r\n',
    "escapes": '{"token":"%s","communication_identifier":{"id":"%s"},"notes":"\\u0078"}',
    "a byte order mark": '\ufeff{"token":"%s","communication_identifier":{"id":"%s"},"notes":"x"}',
    "line breaks": '{"token":"%s","communication_identifier":{"id":"%s"},"notes":"x","a\r\n":"\t"}',
    "PHP's empty arrays": '{"token":"%s","communication_identifier":{"id":"%s"},"notes":"x",'
    '"category_identifier":[],"referring_to":[]}',
    "tricks in strings": '{"token":"%s","communication_identifier":{"id":"%s"},"notes":"x","z":",}007",}',
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_accepted(client: CommunicationsClient, case: str) -> None:
    draft, _ = await draft_body(client)
    raw = ACCEPTED[case] % (client.api.token, draft["id"])
    status, answer = await post(client, raw.encode())
    assert (status, answer["data"].get("notes")) == (200, "x")
    assert answer["data"]["udf_float_1"] == (7 if "zeros" in case else None)


REJECTED: dict[str, bytes] = {
    "no JSON": b"token=x",
    "an array": b"[1]",
    "an array of an object": b"[{}]",
    "a text": b'"x"',
    "null": b"null",
    "a number": b"1",
    "unfinished": b'{"token":"x"',
    "text behind": b'{"token":"x"} x',
    "two objects": b"{}{}",
    "a comment": b'{"token":"x"/* y */}',
    "a line comment": b'{"token":"x"} // y',
    "single quotes": b"{'token':'x'}",
    "an unquoted key": b'{token:"x"}',
    "NaN": b'{"token":NaN}',
    "Infinity": b'{"token":Infinity}',
    "a control character": b'{"token":"a\x0bb"}',
    "an escaped line break": b'{"token":"a\\\nb"}',
    "another blank": b'{"token":\xc2\xa0"x"}',
    "a form feed": b'{"token":\x0c"x"}',
    "two BOMs": b"\xef\xbb\xbf\xef\xbb\xbf{}",
    "a BOM behind": b"{}\xef\xbb\xbf",
    "no UTF-8": b'{"token":"\xff"}',
    "UTF-16": '{"token":"x"}'.encode("utf-16"),
    "a lone surrogate": b'{"token":"\\ud800"}',
    "two commas": b'{"token":"x",,}',
    "a leading comma": b'{,"token":"x"}',
    "nothing but a comma": b"{,}",
    "only blanks": b"   ",
    "too deep": b'{"a":' * 33 + b"1" + b"}" * 33,
    "far too deep": b"[" * 100_000,
    "too large a number": b'{"token":1e999}',
}


@pytest.mark.parametrize("case", REJECTED)
async def test_rejected(client: CommunicationsClient, case: str) -> None:
    async with untouched(client.api):
        status, answer = await post(client, REJECTED[case])
    assert (status, refusal(answer)[0]) == (400, "INVALIDREQUEST")
    assert len(answer["status"]["description"]) < 200


async def test_nested_32_deep(client: CommunicationsClient) -> None:
    _, body = await draft_body(client)
    raw = json.dumps(body).encode()[:-1] + b',"x":' + b"[" * 31 + b"]" * 31 + b"}"
    assert (await post(client, raw))[0] == 200
    deeper = raw.replace(b"[", b"[[", 1).replace(b"]", b"]]", 1)
    assert (await post(client, deeper))[0] == 400


@pytest.mark.parametrize("path", POSTS)
async def test_forms_only_where_they_are_documented(
    client: CommunicationsClient, path: str
) -> None:
    _, body = await draft_body(client)
    writer = _form({"token": client.api.token}, None)
    status, answer, _ = await client.api.service.send("POST", BASE + path, data=writer)
    if path in FORMS:
        assert (status, refusal(answer)[0]) == (200, "MANDATORYPARAMETER")
        status, answer = await post(client, json.dumps(body).encode(), path)
    assert (status, refusal(answer)[0]) == (400, "INVALIDREQUEST")
    assert answer["status"]["description"] == "Content-Type"


@pytest.mark.parametrize(
    "content_type", ["Multipart/Form-Data; boundary=x", " multipart/form-data ;boundary=x"]
)
async def test_forms_are_known_by_their_type(
    client: CommunicationsClient, content_type: str
) -> None:
    status, answer = await post(client, b"{}", UPDATE, content_type)
    assert (status, answer["status"]["description"]) == (400, "Content-Type")


async def test_broken_forms(client: CommunicationsClient) -> None:
    for content_type, body in (
        ("multipart/form-data", b"--x\r\n\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1"),
        ("multipart/form-data; boundary=x", b'--x\r\nX: form-data; name="a"\r\n\r\n1\r\n--x--'),
    ):
        status, answer = await post(client, body, PHOTO, content_type)
        assert (status, refusal(answer)[0]) == (400, "INVALIDREQUEST")


def padded(body: Json, size: int) -> bytes:
    raw = json.dumps(body).encode()
    return raw[:-1] + b" " * (size - len(raw)) + b"}"


async def chunks(raw: bytes) -> Any:
    """A body of unknown length."""
    for n in range(0, len(raw), 65536):
        yield raw[n : n + 65536]


async def test_a_body_of_4_mib(client: CommunicationsClient) -> None:
    _, body = await draft_body(client)
    status, answer = await post(client, padded(body, JSON_LIMIT))
    assert (status, answer["data"]["notes"]) == (200, "é")
    assert JSON_LIMIT == 4 * 1024 * 1024
    async with untouched(client.api):
        for given in (
            io.BytesIO(padded(body, JSON_LIMIT + 1)),
            chunks(padded(body, JSON_LIMIT + 1)),
        ):
            status, answer, _ = await client.api.service.send("POST", BASE + UPDATE, data=given)
            assert (status, refusal(answer)[0]) == (413, "REQUESTTOOLARGE")


@pytest.mark.parametrize("path", [p for p in POSTS if p not in FORMS])
async def test_the_limit_is_the_same_for_all(client: CommunicationsClient, path: str) -> None:
    status, answer = await post(client, b" " * (JSON_LIMIT + 1), path)
    assert (status, refusal(answer)[0]) == (413, "REQUESTTOOLARGE")


async def test_a_form_of_10_mib(client: CommunicationsClient) -> None:
    assert FORM_LIMIT == 10 * 1024 * 1024
    named = {"token": client.api.token, "contact_information_identifier": f"id={client.recipient}"}
    for size, expected in ((FORM_LIMIT - 2000, 200), (FORM_LIMIT, 413)):
        writer = _form(named, ("x.png", b"x" * size, "image/png"))
        status, answer, _ = await client.api.service.send("POST", BASE + PHOTO, data=writer)
        assert status == expected
        name = "INVALIDPROFILEPHOTO" if expected == 200 else "REQUESTTOOLARGE"
        assert refusal(answer)[0] == name


async def test_a_compressed_body_is_not_unpacked(client: CommunicationsClient) -> None:
    headers = {"Content-Encoding": "gzip"}
    for body in (gzip.compress(b"{}"), gzip.compress(b" " * 100_000_000)):
        status, answer, _ = await client.api.service.send(
            "POST", BASE + UPDATE, data=body, headers=headers
        )
        assert (status, refusal(answer)[0]) == (400, "INVALIDREQUEST")
