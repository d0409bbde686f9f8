"""Paths, verbs, request ids: contract common.md, section 1, and the transport errors of section 12."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pytest
import pytest_asyncio
import structlog
from yarl import URL

from infra.http.api.routes import IMAGES
from services.pipeline.method import BASE, METHODS
from tests.fixtures.communications import CommunicationsClient, communications_client, error_names
from tests.fixtures.organisation import untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
VERBS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


async def sent(service: Service, verb: str, path: str) -> tuple[int, Json, Any]:
    """Status, envelope (none to HEAD) and headers; the path goes out as it is written."""
    url = URL(service.url + path, encoded=True)
    async with service.http.request(verb, url, allow_redirects=False) as answer:
        return answer.status, {} if verb == "HEAD" else await answer.json(), answer.headers


@pytest.mark.parametrize("path", METHODS)
async def test_every_method_has_one_verb(service: Service, path: str) -> None:
    own = METHODS[path].verb
    answers = await asyncio.gather(*(sent(service, verb, BASE + path) for verb in VERBS))
    for verb, (status, answer, headers) in zip(VERBS, answers, strict=True):
        if verb == own:
            assert status in {200, 400}
            assert refusal(answer)[0] != "METHODNOTALLOWED"
            continue
        assert (verb, status, headers["Allow"]) == (verb, 405, own)
        assert headers["Content-Type"] == "application/json; charset=utf-8"
        if verb != "HEAD":
            assert refusal(answer) == ("METHODNOTALLOWED", "")


async def test_the_image_download_has_one_verb(service: Service) -> None:
    for verb in VERBS[1:]:
        status, _, headers = await sent(service, verb, IMAGES)
        assert (status, headers["Allow"]) == (405, "GET")


UNKNOWN = [
    "/nowhere",
    "/crmapi",
    "/crmapi/rest/v2",
    "/crmapi/rest/v2/",
    "/crmapi/rest/v1/communications/list",
    "/rest/v2/communications/list",
    f"{BASE}communications",
    f"{BASE}communications/lists",
    f"{BASE}communications/list/x",
    f"{BASE}communications/list.json",
    f"{BASE}communications/list;x=1",
    f"{BASE}Communications/list",
    f"{BASE}communications/LIST",
    "/CRMAPI/rest/v2/communications/list",
    f"{BASE}communications%2Flist",
    f"{BASE}communications/./list",
    f"{BASE}communications/../communications/list",
    f"{BASE}communications/list%20",
    f"{BASE}communications/list%2F",
    "/crm/imagedownloadservlet",
    "/reference/v1",
]


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("verb", ["GET", "POST", "OPTIONS"])
async def test_unknown_paths(service: Service, path: str, verb: str) -> None:
    status, answer, headers = await sent(service, verb, path)
    assert (status, refusal(answer)) == (404, ("METHODNOTFOUND", ""))
    assert headers["Content-Type"] == "application/json; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        f"{BASE}communications/complete/",
        f"{BASE}communications/complete//",
        f"/{BASE}communications//complete",
        f"//{BASE}///communications////complete//",
    ],
)
async def test_slashes(service: Service, path: str) -> None:
    status, answer, _ = await service.send("POST", path, data=b"{}")
    assert (status, refusal(answer)[0]) == (200, "INVALIDTOKEN")


async def test_a_slash_before_the_query(client: CommunicationsClient) -> None:
    token = await client.api.login()
    path = f"{BASE}communications/list/?token={token}&category_identifier=id=MC1"
    assert (await client.api.service.send("GET", path))[1]["status"]["code"] == "OK"


async def test_a_query_in_the_path_of_a_post_is_ignored(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    token = await client.api.login()
    path = f"{BASE}communications/update"
    query = {"token": token, "communication_identifier": f"id={draft['id']}", "notes": "x"}
    _, answer, _ = await client.api.service.send("POST", path, query=query, data=b"{}")
    assert refusal(answer)[0] == "INVALIDTOKEN"
    body = b'{"token":"%s","communication_identifier":{"id":"%s"}}'
    raw = body % (token.encode(), draft["id"].encode())
    for more in (query, "x=%zz", "&&&"):
        given = {"query": more} if isinstance(more, dict) else {}
        suffix = "" if given else f"?{more}"
        _, answer, _ = await client.api.service.send("POST", path + suffix, data=raw, **given)
        assert answer["data"]["notes"] is None


async def test_the_body_of_a_get_is_ignored(client: CommunicationsClient) -> None:
    token = await client.api.login()
    path = f"{BASE}communications/list"
    query = {"token": token, "category_identifier": "id=MC1"}
    headers = {"Content-Type": "application/json"}
    for body in (b"", b"{", b'{"category_identifier":{"id":"nothing"}}', b"x" * 3_000_000):
        status, answer, _ = await client.api.service.send(
            "GET", path, query=query, data=io.BytesIO(body), headers=headers
        )
        assert (status, answer["status"]["code"]) == (200, "OK")
    _, answer, _ = await client.api.service.send(
        "GET", path, data=b'{"token":"%s"}' % token.encode(), headers=headers
    )
    assert refusal(answer)[0] == "INVALIDTOKEN"


async def test_a_get_changes_nothing(client: CommunicationsClient) -> None:
    said = await client.create_email()
    contact = f"id={client.recipient}"
    async with untouched(client.api):
        for path, query in (
            (
                "communications/show",
                {"communication_identifier": f"id={said['communication']['id']}"},
            ),
            ("communications/list", {"contact_information_identifier": contact}),
            ("communications/queue/show", {"communication_queue_identifier": f"id={said['id']}"}),
            ("communications/queue/list", {"media": "EMAIL"}),
            ("communications/queue/get_latest", {"media": "EMAIL", "number": "5"}),
            ("communications/queue/get_pending_completed", {"media": "EMAIL"}),
        ):
            headers = {"Idempotency-Key": "of-a-read"}
            answer = await client.api.call("GET", path, query=query, headers=headers)
            assert answer["status"]["code"] == "OK"


QUERIES: list[tuple[str, str]] = [
    ("category_identifier=id%3DMC1", "OK"),
    ("category_identifier=id=MC1", "OK"),
    ("category_identifier=name=Sales+", "OK"),
    ("category_identifier=name=+Sales%20", "OK"),
    ("category_identifier=%7B%22name%22%3A%22Sales%22%7D", "OK"),
    ("category_identifier=id=MC1&&x&=y&media=", "OK"),
    ("category_identifier=id=MC1&media=FAX&media=SMS", "OK"),
    ("category_identifier=id=MC1&media=SMS&media=FAX", "INVALIDPARAMETERVALUE"),
    (
        "category_identifier=id=MC1&number_of_results=10&number_of_results=0",
        "INVALIDPARAMETERVALUE",
    ),
    ("category_identifier=id=MC1&category_identifier=id=MC1", "SEMIOPTIONALPARAMETER"),
    ("category_identifier", "SEMIOPTIONALPARAMETER"),
    ("category_identifier=x", "INVALIDIDENTIFIER"),
    ("category_identifier=name=%C3%A9", "ENTITYNOTFOUND"),
    ("category_identifier=name=%E9", "INVALIDREQUEST"),
    ("category_identifier=name=%zz", "INVALIDREQUEST"),
    ("category_identifier=name=%", "INVALIDREQUEST"),
    ("category_identifier=name=%00", "INVALIDPARAMETERVALUE"),
    ("x=%ED%A0%80&category_identifier=id=MC1", "INVALIDREQUEST"),
]


@pytest.mark.parametrize(("query", "expected"), QUERIES)
async def test_queries(client: CommunicationsClient, query: str, expected: str) -> None:
    token = await client.api.login()
    path = f"{BASE}communications/list?token={token}&{query}"
    status, answer, _ = await sent(client.api.service, "GET", path)
    assert error_names([answer]) == [expected]
    assert status == (400 if expected == "INVALIDREQUEST" else 200)


@pytest.mark.parametrize("given", ["a", "A.b:c_d-9", "x" * 64])
async def test_request_ids_are_the_callers(service: Service, given: str) -> None:
    for path in ("/nowhere", f"{BASE}communications/complete"):
        headers = {"X-Request-Id": given}
        with structlog.testing.capture_logs() as logs:
            _, _, answered = await service.send("POST", path, headers=headers)
        assert answered["X-Request-Id"] == given
        assert "authentication" not in str(logs)


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "é", "a/b", '"'])
async def test_other_request_ids_are_replaced(service: Service, given: str) -> None:
    path = f"{BASE}communications/complete"
    _, _, headers = await service.send("POST", path, headers={"X-Request-Id": given})
    assert headers["X-Request-Id"] != given
    assert len(headers["X-Request-Id"]) == 32


async def test_no_response_is_kept_or_guessed_at(service: Service) -> None:
    for path in ("/nowhere", f"{BASE}communications/complete", "/", "/docs", "/openapi.json"):
        verb = "POST" if path.endswith("complete") else "GET"
        _, _, headers = await service.send(verb, path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"]
        assert headers["Server"] == "crmledger"
