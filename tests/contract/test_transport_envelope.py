"""The envelope, ``fields_set`` and unknown parameters: contract common.md, sections 1, 2 and 5."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import pytest_asyncio

from services.pipeline.method import BASE, METHODS
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.organisation import person
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
OK = {"code": "OK", "message": "", "description": ""}
CODE = re.compile(r"COM\.CRM\.EXCEPTION\.[A-Z]+\.[A-Z]+EXCEPTION")


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    own = await communications_client(service)
    own.api.token = await own.api.login()
    await own.new_contact(demographics={"id_number": "ENVELOPE"})
    return own


async def accepted(client: CommunicationsClient, path: str) -> Json:
    """Parameters with which a method succeeds; identifiers are objects."""
    draft, entry = await client.create_draft(), await client.create_email()
    said = entry["communication"]
    contact = {"contact_information_identifier": {"id": client.recipient}}
    communication = {"communication_identifier": {"id": draft["id"]}}
    queued = {"communication_queue_identifier": {"id": entry["id"]}}
    media = {"media": "EMAIL"}
    return {
        "communications/show": communication,
        "communications/list": contact,
        "communications/create": client.creation_body(),
        "communications/update": communication,
        "communications/complete": communication,
        "communications/set_as_viewed": {"communication_identifier": {"id": said["id"]}},
        "communications/queue/show": queued,
        "communications/queue/list": media,
        "communications/queue/get_latest": media | {"number": 5},
        "communications/queue/get_pending_completed": media,
        "communications/queue/process": queued,
        "communications/queue/reject": queued | {"error_code": "1", "error_description": "2"},
        "communications/queue/remove": queued,
        "contact_information/show": contact,
        "contact_information/list": {"id_number": "ENVELOPE"},
        "contact_information/create": person(),
        "contact_information/update": contact,
        "contact_information/profile_photo/view": contact,
    }[path]


PATHS = [
    *(
        f"communications/{name}"
        for name in ["show", "list", "create", "update", "complete", "set_as_viewed"]
    ),
    *(f"communications/queue/{name}" for name in ["show", "list", "get_latest"]),
    *(f"communications/queue/{name}" for name in ["get_pending_completed", "process"]),
    *(f"communications/queue/{name}" for name in ("reject", "remove")),
    *(f"contact_information/{name}" for name in ["show", "list", "create", "update"]),
    "contact_information/profile_photo/view",
]


async def call(client: CommunicationsClient, path: str, given: Json) -> tuple[int, Json, Any]:
    token = {"token": client.api.token}
    if METHODS[path].verb == "POST":
        data = json.dumps(token | given).encode()
        return await client.api.service.send("POST", BASE + path, data=data)
    texts = {k: f"id={v['id']}" if isinstance(v, dict) else str(v) for k, v in given.items()}
    return await client.api.service.send("GET", BASE + path, query=token | texts)


@pytest.mark.parametrize("path", PATHS)
async def test_a_success(client: CommunicationsClient, path: str) -> None:
    status, answer, headers = await call(client, path, await accepted(client, path))
    assert status == 200
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert set(answer) == {"status", "data"}
    assert answer["status"] == OK
    assert isinstance(answer["data"], list if METHODS[path].is_list else dict)


@pytest.mark.parametrize("path", METHODS)
async def test_a_refusal(client: CommunicationsClient, path: str) -> None:
    method = METHODS[path]
    for status, answer, headers in (
        await client.api.service.send(method.verb, BASE + path),
        await client.api.service.send("PUT", BASE + path),
    ):
        assert status in {200, 400, 405}
        assert headers["Content-Type"] == "application/json; charset=utf-8"
        assert set(answer) == {"status", "data"}
        assert set(answer["status"]) == set(OK)
        assert CODE.fullmatch(answer["status"]["code"])
        assert answer["status"]["message"]
        assert answer["data"] == {}


async def test_a_refusal_is_http_200_but_for_transport(client: CommunicationsClient) -> None:
    status, answer, _ = await call(client, "communications/show", {})
    assert (status, answer["status"]) == (
        200,
        {
            "code": "COM.CRM.EXCEPTION.CORE.MANDATORYPARAMETEREXCEPTION",
            "message": "A mandatory parameter is missing",
            "description": "communication_identifier",
        },
    )


def keys(data: Any) -> list[list[str]]:
    """The keys of each object of an answer."""
    return [list(one) for one in (data if isinstance(data, list) else [data])]


@pytest.mark.parametrize("path", PATHS)
async def test_fields_set(client: CommunicationsClient, path: str) -> None:
    whole = keys((await call(client, path, await accepted(client, path)))[1]["data"])
    assert whole
    first, last = whole[0][0], whole[0][-1]
    forms: list[tuple[Any, list[str]]] = [
        (None, whole[0]),
        ("", whole[0]),
        ("  ", whole[0]),
        (first, [first]),
        (f" {last} , {first} ,", [first, last]),
        (f"{first},{first}", [first]),
        (f"{first},nothing,{last}.id,{last}.name", [first]),
        (first.upper(), []),
        ("nothing", []),
    ]
    if METHODS[path].verb == "POST":
        forms += [([first, f" {last} "], [first, last]), ([], whole[0]), (5, [])]
    for value, expected in forms:
        if value is None and METHODS[path].verb == "GET":
            continue
        given = await accepted(client, path) | {"fields_set": value}
        found = keys((await call(client, path, given))[1]["data"])
        assert found
        assert all(one == expected for one in found), value


@pytest.mark.parametrize("path", [p for p in PATHS if METHODS[p].verb == "POST"])
@pytest.mark.parametrize("value", [True, {}, {"id": 1}, [1], [None], [["id"]]])
async def test_fields_set_refused(client: CommunicationsClient, path: str, value: Any) -> None:
    given = await accepted(client, path) | {"fields_set": value}
    refused = refusal((await call(client, path, given))[1])
    assert refused == ("INVALIDPARAMETERTYPE", "fields_set")


async def test_kept_objects_are_whole(client: CommunicationsClient) -> None:
    draft = await client.create_draft()
    shown = await client.show(draft, fields_set="contact_information,referring_to,log_information")
    assert shown == {
        name: draft[name] for name in ("contact_information", "referring_to", "log_information")
    }


@pytest.mark.parametrize("path", PATHS)
async def test_unknown_parameters_are_ignored(client: CommunicationsClient, path: str) -> None:
    given = await accepted(client, path)
    more: Json = {"type ": "x", "Token": "x", "$ref": "x", "": 1, "colour": {"red": [1]}}
    if METHODS[path].verb == "GET":
        more = {"type ": "x", "Token": "x", "$ref": "x", "colour": "red"}
    _, answer, _ = await call(client, path, given | more)
    assert answer["status"] == OK


async def test_unknown_members_are_ignored_inside_but_not_in_identifiers(
    client: CommunicationsClient,
) -> None:
    item = {"type": "STRING", "name": "n", "string_value": "x", "colour": "red", "id": "1"}
    said = await client.create(unrestricted_parameter_set=[item])
    assert said["unrestricted_parameter_set"][0]["id"] != "1"
    named = {"contact_information_identifier": {"id": client.recipient, "colour": "red"}}
    refused = await client.create_refused(**named)
    assert refused == ("INVALIDIDENTIFIER", "contact_information_identifier")
    named = {"contact_information_identifier": {"id": client.recipient, "colour": None, "name": ""}}
    assert (await client.create(**named))["contact_information"]["id"] == client.recipient
    refused = await client.create_refused(referring_to={"colour_identifier": {"id": "1"}})
    assert refused == ("INVALIDIDENTIFIER", "referring_to")


@pytest.mark.parametrize("text", ['{"$ref":"x"}', '{"$name":["a","b"]}', '"\\', "\u2028é𝄞", "<b>&"])
async def test_texts_come_back_as_they_went_in(client: CommunicationsClient, text: str) -> None:
    said = await client.create(subject=text, content=text, notes=text)
    assert {said[name] for name in ("subject", "content", "notes")} == {text}
    assert {(await client.show(said))[name] for name in ("subject", "content", "notes")} == {text}
