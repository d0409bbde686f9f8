"""The order of checks: contract common.md, section 12. Of two faults the earlier one is answered."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
import pytest_asyncio

from services.pipeline.method import BASE
from tests.fixtures.communications import LIMITED, CommunicationsClient, communications_client
from tests.fixtures.organisation import unknown_id, untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
Fault = tuple[Json, str, str]
"""What is changed in an acceptable body, NAME and description of its refusal."""

TWICE = [{"action": "ADD", "type": "INTEGER", "name": "n", "integer_value": 1}] * 2
GONE = {"id": unknown_id()}
LINKS = (
    "template_identifier",
    "category_identifier",
    "communication_queue_external_system_identifier",
)
FILED = ("owned_by_group_identifier", "privacy_level_identifier")


def shaped(*names: str) -> list[Fault]:
    """Identifiers that are none."""
    return [({name: {"colour": "1"}}, "INVALIDIDENTIFIER", name) for name in names]


def missing(*names: str) -> list[Fault]:
    """Identifiers of nothing."""
    return [({name: GONE}, "ENTITYNOTFOUND", name) for name in names]


PARAMETERS: list[Fault] = [
    *shaped(*LINKS),
    ({"direction": "x"}, "INVALIDPARAMETERVALUE", "direction"),
    ({"media": []}, "INVALIDPARAMETERTYPE", "media"),
    ({"subject": "x" * 4001}, "INVALIDPARAMETERVALUE", "subject"),
    ({"content": []}, "INVALIDPARAMETERTYPE", "content"),
    ({"media": "EMAIL", "to": "ab"}, "INVALIDPARAMETERVALUE", "to"),
    ({"notes": {}}, "INVALIDPARAMETERTYPE", "notes"),
    ({"life_cycle_state": "x"}, "INVALIDPARAMETERVALUE", "life_cycle_state"),
    *shaped(*FILED),
    ({"udf_string_1": []}, "INVALIDPARAMETERTYPE", "udf_string_1"),
    ({"udf_float_1": "x"}, "INVALIDPARAMETERTYPE", "udf_float_1"),
    ({"udf_date_1": "x"}, "INVALIDPARAMETERTYPE", "udf_date_1"),
    ({"referring_to": {"x": 1}}, "INVALIDIDENTIFIER", "referring_to"),
    (
        {"unrestricted_parameter_set": 1},
        "INVALIDPARAMETERTYPE",
        "unrestricted_parameter_set",
    ),
    ({"fields_set": {}}, "INVALIDPARAMETERTYPE", "fields_set"),
]
RESOLUTION: list[Fault] = [
    *missing(*LINKS, *FILED),
    (
        {"referring_to": {"job_identifier": GONE}},
        "ENTITYNOTFOUND",
        "referring_to.job_identifier",
    ),
]
STATE: list[Fault] = [
    ({"template_identifier": {"id": "OFF"}}, "INVALIDLIFECYCLESTATE", "template_identifier")
]
DUPLICATE: Fault = (
    {"unrestricted_parameter_set": TWICE},
    "DUPLICATEENTITY",
    "unrestricted_parameter_set[1].name",
)
LIMIT: Fault = (
    {
        "communication_queue_external_system_identifier": {"id": LIMITED},
        "content": "more than ten",
    },
    "INVALIDPARAMETERVALUE",
    "content",
)
CONTACT, ON = "contact_information_identifier", "communication_identifier"
CREATE = [
    ({CONTACT: None}, "MANDATORYPARAMETER", CONTACT),
    *PARAMETERS,
    *missing(CONTACT),
    *RESOLUTION,
    *STATE,
    LIMIT,
]
UPDATE = [
    ({ON: {"id": "1", "number": "1"}}, "SEMIOPTIONALPARAMETER", ON),
    *[f for f in PARAMETERS if "to" not in f[0]],
    *missing(ON),
    *RESOLUTION,
    ({ON: {"id": "FINAL"}}, "INVALIDLIFECYCLESTATE", ""),
    *STATE,
    ({"media": "EMAIL"}, "MANDATORYPARAMETER", "to"),
    LIMIT,
]
QUEUE = "communication_queue_identifier"
REJECT = [
    ({QUEUE: "x"}, "INVALIDIDENTIFIER", QUEUE),
    ({"error_code": " "}, "MANDATORYPARAMETER", "error_code"),
    ({"error_description": []}, "INVALIDPARAMETERTYPE", "error_description"),
    ({"fields_set": {}}, "INVALIDPARAMETERTYPE", "fields_set"),
    *missing(QUEUE),
    ({QUEUE: {"id": "REMOVED"}}, "INVALIDLIFECYCLESTATE", ""),
]
VIEWED = [
    ({ON: {"code": "1"}}, "INVALIDIDENTIFIER", ON),
    ({"viewed_on": "x"}, "INVALIDPARAMETERTYPE", "viewed_on"),
    *missing(ON),
    ({ON: {"id": "DRAFT"}}, "INVALIDLIFECYCLESTATE", ""),
]
TABLES: dict[str, list[Fault]] = {
    "communications/create": CREATE,
    "communications/update": UPDATE,
    "communications/set_as_viewed": VIEWED,
    "communications/queue/reject": REJECT,
}


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    own = await communications_client(service)
    await own.register("communication_template", "OFF", name="OFF")
    return own


async def bodies(client: CommunicationsClient, path: str) -> tuple[Json, dict[str, str]]:
    """An acceptable body, and the ids that the table's words stand for."""
    draft, final, entry = (
        await client.create_draft(),
        await client.create(),
        await client.create_email(),
    )
    removed = await client.create_email()
    await client.call_queue("remove", removed)
    words = {"DRAFT": draft["id"], "FINAL": final["id"], "REMOVED": removed["id"]}
    acceptable: dict[str, Json] = {
        "communications/create": client.creation_body(),
        "communications/update": {ON: {"id": draft["id"]}},
        "communications/set_as_viewed": {ON: {"id": final["id"]}},
        "communications/queue/reject": {
            QUEUE: {"id": entry["id"]},
            "error_code": "1",
            "error_description": "x",
        },
    }
    return acceptable[path], words


def spelt(changes: Json, words: dict[str, str]) -> Json:
    text = json.dumps(changes)
    for word, id_ in words.items():
        text = text.replace(f'"{word}"', f'"{id_}"')
    return dict(json.loads(text))


@pytest.mark.parametrize("path", TABLES)
async def test_each_fault_alone(client: CommunicationsClient, path: str) -> None:
    body, words = await bodies(client, path)
    async with untouched(client.api):
        for changes, name, description in [*TABLES[path], *_last(path)]:
            given = body | spelt(changes, words)
            assert await client.api.refused(path, **given) == (name, description), changes


def _last(path: str) -> list[Fault]:
    return [DUPLICATE] if path in ("communications/create", "communications/update") else []


@pytest.mark.parametrize("path", TABLES)
async def test_of_two_faults_the_earlier_one(client: CommunicationsClient, path: str) -> None:
    body, words = await bodies(client, path)
    pairs = [
        (first, second)
        for first, second in combinations([*TABLES[path], *_last(path)], 2)
        if not first[0].keys() & second[0].keys() and LIMIT not in (first, second)
    ]
    assert len(pairs) >= len(TABLES[path]) - 1
    async with untouched(client.api):
        for first, second in pairs:
            given = body | spelt(second[0], words) | spelt(first[0], words)
            refused = await client.api.refused(path, **given)
            assert refused == first[1:], (first[0], second[0])


async def test_before_the_parameters(client: CommunicationsClient) -> None:
    """Path, verb, size, syntax, token, in this order, before everything that is in a body."""
    send = client.api.service.send
    token = await client.api.login()
    path = BASE + "communications/create"
    faulty = json.dumps({"token": token, "direction": "x"}).encode()
    unsigned = json.dumps({"token": "x", "direction": "x"}).encode()
    huge = b"{" + b" " * (1024 * 1024)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    steps: list[tuple[str, str, bytes, dict[str, str], str]] = [
        ("PUT", path + "x", huge[:-1], form, "METHODNOTFOUND"),
        ("PUT", path, huge[:-1], form, "METHODNOTALLOWED"),
        ("POST", path, huge[:1000], form, "INVALIDREQUEST"),
        ("POST", path, huge[:1000], {}, "INVALIDREQUEST"),
        ("POST", path, unsigned, {}, "INVALIDTOKEN"),
        ("POST", path, faulty, {}, "MANDATORYPARAMETER"),
    ]
    for verb, target, body, headers, name in steps:
        _, answer, _ = await send(verb, target, data=body, headers=headers)
        assert refusal(answer)[0] == name


async def test_of_the_logins(client: CommunicationsClient) -> None:
    steps: list[tuple[Json, str, str]] = [
        ({}, "MANDATORYPARAMETER", "username"),
        ({"username": "x"}, "MANDATORYPARAMETER", "password"),
        ({"username": "x", "password": "x"}, "MANDATORYPARAMETER", "organisation"),
        ({"username": "x", "password": "x", "organisation": "x"}, "INVALIDPARAMETERTYPE", "unit"),
    ]
    for given, name, description in steps:
        answer = await client.api.open("authentication/token", given | {"unit": []})
        assert refusal(answer) == (name, description)
    answer = await client.api.open("authentication/web_api_key/token", {"unit": []})
    assert refusal(answer) == ("INVALIDPARAMETERTYPE", "unit")


async def test_of_lists(client: CommunicationsClient) -> None:
    """The semi-optional ones are looked at where they stand, before what follows them."""
    path = "communications/queue/list"
    order = [
        ({"media": "x"}, "INVALIDPARAMETERVALUE"),
        ({"media": ""}, "SEMIOPTIONALPARAMETER"),
        ({"media": "SMS", "contact_information_identifier": "x"}, "INVALIDIDENTIFIER"),
        ({"media": "SMS", "life_cycle_state": "x"}, "INVALIDPARAMETERVALUE"),
        ({"media": "SMS", "number_of_results": "x"}, "INVALIDPARAMETERTYPE"),
        ({"media": "SMS", "offset": "x"}, "INVALIDPARAMETERTYPE"),
    ]
    for n, (given, name) in enumerate(order):
        later = {k: v for more, _ in reversed(order[n:]) for k, v in more.items()}
        answer = await client.api.call("GET", path, query=later | given)
        assert refusal(answer)[0] == name
