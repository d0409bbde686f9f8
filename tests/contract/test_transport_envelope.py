"""The envelope, ``fields_set`` and unknown parameters: contract common.md, sections 1, 2 and 5."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import pytest_asyncio

from services.pipeline.method import BASE, METHODS
from tests.communications_world import Desk, desk
from tests.service import Service, refusal
from tests.world import person

Json = dict[str, Any]
OK = {"code": "OK", "message": "", "description": ""}
CODE = re.compile(r"COM\.CRM\.EXCEPTION\.[A-Z]+\.[A-Z]+EXCEPTION")


@pytest_asyncio.fixture(scope="module")
async def here(service: Service) -> Desk:
    own = await desk(service)
    own.api.token = await own.api.login()
    await own.contact(demographics={"id_number": "ENVELOPE"})
    return own


async def accepted(here: Desk, path: str) -> Json:
    """Parameters with which a method succeeds; identifiers are objects."""
    draft, entry = await here.draft(), await here.mail()
    said = entry["communication"]
    contact = {"contact_information_identifier": {"id": here.reader}}
    communication = {"communication_identifier": {"id": draft["id"]}}
    queued = {"communication_queue_identifier": {"id": entry["id"]}}
    media = {"media": "EMAIL"}
    return {
        "communications/show": communication,
        "communications/list": contact,
        "communications/create": here.body(),
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


async def call(here: Desk, path: str, given: Json) -> tuple[int, Json, Any]:
    token = {"token": here.api.token}
    if METHODS[path].verb == "POST":
        data = json.dumps(token | given).encode()
        return await here.api.service.send("POST", BASE + path, data=data)
    texts = {k: f"id={v['id']}" if isinstance(v, dict) else str(v) for k, v in given.items()}
    return await here.api.service.send("GET", BASE + path, query=token | texts)


@pytest.mark.parametrize("path", PATHS)
async def test_a_success(here: Desk, path: str) -> None:
    status, answer, headers = await call(here, path, await accepted(here, path))
    assert status == 200
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert set(answer) == {"status", "data"}
    assert answer["status"] == OK
    assert isinstance(answer["data"], list if METHODS[path].is_list else dict)


@pytest.mark.parametrize("path", METHODS)
async def test_a_refusal(here: Desk, path: str) -> None:
    method = METHODS[path]
    for status, answer, headers in (
        await here.api.service.send(method.verb, BASE + path),
        await here.api.service.send("PUT", BASE + path),
    ):
        assert status in {200, 400, 405}
        assert headers["Content-Type"] == "application/json; charset=utf-8"
        assert set(answer) == {"status", "data"}
        assert set(answer["status"]) == set(OK)
        assert CODE.fullmatch(answer["status"]["code"])
        assert answer["status"]["message"]
        assert answer["data"] == {}


async def test_a_refusal_is_http_200_but_for_transport(here: Desk) -> None:
    status, answer, _ = await call(here, "communications/show", {})
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
async def test_fields_set(here: Desk, path: str) -> None:
    whole = keys((await call(here, path, await accepted(here, path)))[1]["data"])
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
        given = await accepted(here, path) | {"fields_set": value}
        found = keys((await call(here, path, given))[1]["data"])
        assert found
        assert all(one == expected for one in found), value


@pytest.mark.parametrize("path", [p for p in PATHS if METHODS[p].verb == "POST"])
@pytest.mark.parametrize("value", [True, {}, {"id": 1}, [1], [None], [["id"]]])
async def test_fields_set_refused(here: Desk, path: str, value: Any) -> None:
    given = await accepted(here, path) | {"fields_set": value}
    refused = refusal((await call(here, path, given))[1])
    assert refused == ("INVALIDPARAMETERTYPE", "fields_set")


async def test_kept_objects_are_whole(here: Desk) -> None:
    draft = await here.draft()
    shown = await here.see(draft, fields_set="contact_information,referring_to,log_information")
    assert shown == {
        name: draft[name] for name in ("contact_information", "referring_to", "log_information")
    }


@pytest.mark.parametrize("path", PATHS)
async def test_unknown_parameters_are_ignored(here: Desk, path: str) -> None:
    given = await accepted(here, path)
    more: Json = {"type ": "x", "Token": "x", "$ref": "x", "": 1, "colour": {"red": [1]}}
    if METHODS[path].verb == "GET":
        more = {"type ": "x", "Token": "x", "$ref": "x", "colour": "red"}
    _, answer, _ = await call(here, path, given | more)
    assert answer["status"] == OK


async def test_unknown_members_are_ignored_inside_but_not_in_identifiers(here: Desk) -> None:
    item = {"type": "STRING", "name": "n", "string_value": "x", "colour": "red", "id": "1"}
    said = await here.say(unrestricted_parameter_set=[item])
    assert said["unrestricted_parameter_set"][0]["id"] != "1"
    named = {"contact_information_identifier": {"id": here.reader, "colour": "red"}}
    refused = await here.unsaid(**named)
    assert refused == ("INVALIDIDENTIFIER", "contact_information_identifier")
    named = {"contact_information_identifier": {"id": here.reader, "colour": None, "name": ""}}
    assert (await here.say(**named))["contact_information"]["id"] == here.reader
    refused = await here.unsaid(referring_to={"colour_identifier": {"id": "1"}})
    assert refused == ("INVALIDIDENTIFIER", "referring_to")


@pytest.mark.parametrize("text", ['{"$ref":"x"}', '{"$name":["a","b"]}', '"\\', "\u2028é𝄞", "<b>&"])
async def test_texts_come_back_as_they_went_in(here: Desk, text: str) -> None:
    said = await here.say(subject=text, content=text, notes=text)
    assert {said[name] for name in ("subject", "content", "notes")} == {text}
    assert {(await here.see(said))[name] for name in ("subject", "content", "notes")} == {text}
