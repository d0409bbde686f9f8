"""Method 7, communications/create: contract communications.md, sections 5.1 and 9.1."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import (
    CommunicationsClient,
    call_concurrently,
    communications_client,
    error_names,
    event_topics,
    new_key,
    post_raw,
)
from tests.fixtures.organisation import (
    GROUP,
    OTHER_GROUP,
    PRIVACY_LEVEL,
    UNIT,
    person,
    unknown_id,
    untouched,
)
from tests.fixtures.service import Service, refusal

CREATE = "communications/create"
MAIL = {"media": "EMAIL", "to": "a@b"}
NEVER = ...
"""In a body: the member is left out."""


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


async def test_happens(client: CommunicationsClient) -> None:
    said = await client.create(
        **MAIL,
        notes="By the way",
        category_identifier={"code": "SAL"},
        communication_queue_external_system_identifier={"alternative_code": "PM"},
        owned_by_group_identifier={"name": "Nicosia Office"},
        privacy_level_identifier={"name": "Moderate"},
        udf_string_8="last",
        udf_float_4="497.41",
        udf_date_4="2014-05-05",
    )
    assert said["number"].startswith("CM")
    assert (said["life_cycle_state"], said["direction"], said["media"]) == (
        "COMPLETED",
        "OUTGOING",
        "EMAIL",
    )
    assert (said["to"], said["notes"]) == ("a@b", "By the way")
    assert (said["viewed"], said["viewed_on"], said["follow_up_set"]) == (0, None, [])
    assert said["contact_information"]["id"] == client.recipient
    assert said["category"]["name"] == "Sales"
    assert said["communication_queue_external_system"]["name"] == "Postman"
    assert said["owned_by_group"]["id"] == OTHER_GROUP
    assert said["privacy_level"]["id"] == PRIVACY_LEVEL
    assert (said["udf_string_8"], said["udf_float_4"]) == ("last", 497.41)
    assert said["udf_date_4"] == "2014-05-05T00:00:00"
    log = said["log_information"]
    assert log["created_by_user"] == log["updated_by_user"]
    assert (log["created_by_user"]["username"], log["created_by_unit"]["id"]) == ("demo", UNIT)
    assert log["created_date"] == log["updated_date"]
    assert await client.show(said) == said


async def test_what_is_not_given(client: CommunicationsClient) -> None:
    said = await client.create()
    unset = ("from", "to", "notes", "viewed_on", "category", "privacy_level", "udf_string_1")
    assert [said[name] for name in unset] == [None] * len(unset)
    assert said["communication_queue_external_system"] is None
    assert said["owned_by_group"]["id"] == GROUP
    assert set(said["referring_to"].values()) == {None}
    assert said["unrestricted_parameter_set"] == []


async def test_the_group_is_that_of_the_unit_chosen_at_login(client: CommunicationsClient) -> None:
    token = await client.api.login(unit="83FEA79C4ADC57C16330F36173A02B8D")
    answer = await client.api.open(CREATE, client.creation_body(token=token))
    said = answer["data"]
    assert said["owned_by_group"]["id"] == OTHER_GROUP
    assert said["log_information"]["created_by_unit"]["name"] == "Call Centre"


ACCEPTED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "lower case": ({"media": "phone", "direction": " incoming "}, {"media": "PHONE"}),
    "blanks in words": ({"media": "face to face"}, {"media": "FACE_TO_FACE"}),
    "hyphens in words": ({"media": "Face-To-Face"}, {"media": "FACE_TO_FACE"}),
    "alias of media": ({"media": "F2F"}, {"media": "FACE_TO_FACE"}),
    "alias of state": ({"life_cycle_state": "complete"}, {"life_cycle_state": "COMPLETED"}),
    "state null": ({"life_cycle_state": None}, {"life_cycle_state": "COMPLETED"}),
    "draft": ({"life_cycle_state": "draft"}, {"life_cycle_state": "DRAFT"}),
    "number as text": ({"subject": 5, "content": 1.5}, {"subject": "5", "content": "1.5"}),
    "blanks are kept": ({"subject": " x "}, {"subject": " x "}),
    "SMS to nobody": ({"media": "SMS"}, {"to": None}),
    "to of a call is any text": ({"to": "nowhere"}, {"to": "nowhere"}),
    "empty texts are null": ({"notes": "", "to": "", "udf_string_1": ""}, {"notes": None}),
    "nulls are absent": (
        {"template_identifier": None, "referring_to": None, "unrestricted_parameter_set": None},
        {"media": "PHONE"},
    ),
    "longest subject": ({"subject": "x" * 4000}, {"subject": "x" * 4000}),
    "longest content": ({"content": "x" * 1_000_000}, {"content": "x" * 1_000_000}),
    "a long content": ({"content": "é" * 70_000}, {"content": "é" * 70_000}),
    "longest notes": ({"notes": "x" * 65_535}, {"notes": "x" * 65_535}),
    "longest text": ({"udf_string_1": "x" * 4000}, {"udf_string_1": "x" * 4000}),
    "a list of addresses": (
        {"media": "EMAIL", "to": "a@b.cy;c@d.cy, e@f.cy"},
        {"to": "a@b.cy;c@d.cy, e@f.cy"},
    ),
    "a long list of addresses": (
        {"media": "EMAIL", "to": "a@b," * 900 + "c@d"},
        {"to": "a@b," * 900 + "c@d"},
    ),
    "numeric text": ({"udf_float_1": " 10.0 "}, {"udf_float_1": 10}),
    "unknown members": ({"type ": 1, "viewed": 1, "from": "x", "number": "CM9"}, {"from": None}),
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_accepted(client: CommunicationsClient, case: str) -> None:
    given, expected = ACCEPTED[case]
    said = await client.create(**given)
    assert {name: said[name] for name in expected} == expected


CONTACT = "contact_information_identifier"
LINKS = {
    "template_identifier": "name",
    "category_identifier": "code",
    "communication_queue_external_system_identifier": "name",
    "owned_by_group_identifier": "name",
    "privacy_level_identifier": "number",
}
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({CONTACT: NEVER}, "MANDATORYPARAMETER", CONTACT),
    ({CONTACT: None}, "MANDATORYPARAMETER", CONTACT),
    ({CONTACT: {}}, "MANDATORYPARAMETER", CONTACT),
    ({CONTACT: {"id": None, "number": ""}}, "MANDATORYPARAMETER", CONTACT),
    ({CONTACT: {"id": "1", "number": "2"}}, "SEMIOPTIONALPARAMETER", CONTACT),
    ({CONTACT: {"id": "1", "name": "2"}}, "INVALIDIDENTIFIER", CONTACT),
    ({CONTACT: "1"}, "INVALIDIDENTIFIER", CONTACT),
    ({CONTACT: ["1"]}, "INVALIDIDENTIFIER", CONTACT),
    ({CONTACT: {"id": unknown_id()}}, "ENTITYNOTFOUND", CONTACT),
    *(({name: {field: "nothing"}}, "ENTITYNOTFOUND", name) for name, field in LINKS.items()),
    *(({name: {"viewed": "1"}}, "INVALIDIDENTIFIER", name) for name in LINKS),
    *(
        ({name: value}, "MANDATORYPARAMETER", name)
        for name in ("direction", "media", "subject", "content")
        for value in (NEVER, None, "", " ")
    ),
    ({"direction": "SIDEWAYS"}, "INVALIDPARAMETERVALUE", "direction"),
    ({"direction": 1}, "INVALIDPARAMETERTYPE", "direction"),
    ({"media": "FAX"}, "INVALIDPARAMETERVALUE", "media"),
    ({"media": True}, "INVALIDPARAMETERTYPE", "media"),
    ({"subject": "x" * 4001}, "INVALIDPARAMETERVALUE", "subject"),
    ({"subject": "a\0b"}, "INVALIDPARAMETERVALUE", "subject"),
    ({"subject": {}}, "INVALIDPARAMETERTYPE", "subject"),
    ({"subject": True}, "INVALIDPARAMETERTYPE", "subject"),
    ({"content": "x" * 1_000_001}, "INVALIDPARAMETERVALUE", "content"),
    ({"media": "EMAIL"}, "MANDATORYPARAMETER", "to"),
    ({"media": "EMAIL", "to": " "}, "MANDATORYPARAMETER", "to"),
    ({"media": "EMAIL", "direction": "INCOMING"}, "MANDATORYPARAMETER", "to"),
    *(
        ({"media": "EMAIL", "to": to}, "INVALIDPARAMETERVALUE", "to")
        for to in (
            *("ab", "@b", "a@", "a@b@c", " @ ", "x" * 3999 + "@b"),
            *("a@b;", ";a@b", "a@b,,c@d", "a@b; ", ";", "a@b c@d", "a@b;c", "a@b|c@d"),
        )
    ),
    ({"to": "x" * 4001}, "INVALIDPARAMETERVALUE", "to"),
    ({"notes": "x" * 65_536}, "INVALIDPARAMETERVALUE", "notes"),
    ({"life_cycle_state": "PENDING"}, "INVALIDPARAMETERVALUE", "life_cycle_state"),
    ({"udf_string_1": "x" * 4001}, "INVALIDPARAMETERVALUE", "udf_string_1"),
    ({"udf_float_1": "ten"}, "INVALIDPARAMETERTYPE", "udf_float_1"),
    ({"udf_date_1": "5 May"}, "INVALIDPARAMETERTYPE", "udf_date_1"),
    ({"udf_date_1": "2014-02-30"}, "INVALIDPARAMETERVALUE", "udf_date_1"),
    ({"referring_to": "x"}, "INVALIDPARAMETERTYPE", "referring_to"),
    ({"unrestricted_parameter_set": {}}, "INVALIDPARAMETERTYPE", "unrestricted_parameter_set"),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda c: f"{c[1]}-{str(c[0])[:60]}")
async def test_refused(client: CommunicationsClient, case: tuple[dict[str, Any], str, str]) -> None:
    given, name, description = case
    assert await client.create_refused(**given) == (name, description)


async def test_a_refusal_leaves_nothing_behind(client: CommunicationsClient) -> None:
    async with untouched(client.api):
        for given, _, _ in REFUSED[:20]:
            await client.create_refused(**given)


@pytest.mark.parametrize(
    ("kind", "parameter", "fields"),
    [
        ("communication_category", "category_identifier", {"name": "Old"}),
        (
            "communication_queue_external_system",
            "communication_queue_external_system_identifier",
            {"name": "Old"},
        ),
        ("communication_template", "template_identifier", {"name": "Old"}),
        ("group", "owned_by_group_identifier", {"name": "Old"}),
        ("privacy_level", "privacy_level_identifier", {"name": "Old"}),
    ],
)
async def test_retired_records_cannot_be_chosen(
    client: CommunicationsClient, kind: str, parameter: str, fields: dict[str, Any]
) -> None:
    await client.register(kind, "OLD1", retired=True, **fields)
    for named in ({"id": "OLD1"}, {"name": "Old"}):
        assert await client.create_refused(**{parameter: named}) == ("ENTITYNOTFOUND", parameter)


async def test_a_name_of_two_records_is_not_unique(client: CommunicationsClient) -> None:
    for id_ in ("TWIN1", "TWIN2"):
        await client.register("communication_category", id_, name="Twin")
    refused = await client.create_refused(category_identifier={"name": "Twin"})
    assert refused == ("ENTITYNOTUNIQUE", "category_identifier")


async def test_numbers_and_codes_count_per_organisation(service: Service) -> None:
    first, second = await communications_client(service), await communications_client(service)
    assert [(await first.create_draft())["number"], (await first.create())["number"]] == [
        "CM000001",
        "CM000002",
    ]
    said = await second.create()
    assert (said["number"], said["code"]) == ("CM000001", "1")


async def test_repeated_without_a_key_happens_again(client: CommunicationsClient) -> None:
    first, second = await client.create(), await client.create()
    assert first["id"] != second["id"]


async def test_repeated_with_a_key_answers_the_first_answer(client: CommunicationsClient) -> None:
    api, key = client.api, new_key()
    body = client.creation_body(**MAIL)
    first = (await call_concurrently(api, [(CREATE, body)], **{"Idempotency-Key": key}))[0]
    written = await event_topics(api)
    answers = await call_concurrently(api, [(CREATE, body)] * 3, **{"Idempotency-Key": key})
    assert [first] * 3 == answers
    api.token = await api.login()
    again = (await call_concurrently(api, [(CREATE, body)], **{"Idempotency-Key": key}))[0]
    assert again == first
    assert len(await event_topics(api)) == len(written) + 1  # the login


async def test_fifty_equal_calls_at_once_are_one(client: CommunicationsClient) -> None:
    api = client.api
    before = await event_topics(api)
    answers = await call_concurrently(
        api, [(CREATE, client.creation_body(**MAIL))] * 50, **{"Idempotency-Key": new_key()}
    )
    assert answers == [answers[0]] * 50
    assert answers[0]["status"]["code"] == "OK"
    assert (await event_topics(api))[len(before) :] == [
        "communication.recorded",
        "queue_entry.queued",
    ]


async def test_a_key_of_another_request_is_refused(client: CommunicationsClient) -> None:
    api, key = client.api, {"Idempotency-Key": new_key()}
    body = client.creation_body()
    await call_concurrently(api, [(CREATE, body)], **key)
    async with untouched(api):
        for path, other in (
            (CREATE, body | {"subject": "Other"}),
            (CREATE, body | {"notes": None}),
            (CREATE, body | {"fields_set": "id"}),
            ("contact_information/create", person()),
        ):
            status, answer = await post_raw(api, path, other, **key)
            assert (status, *refusal(answer)) == (422, "INVALIDREQUEST", "Idempotency-Key")


async def test_a_refused_call_does_not_use_up_its_key(client: CommunicationsClient) -> None:
    key = {"Idempotency-Key": new_key()}
    refused = await call_concurrently(
        client.api, [(CREATE, client.creation_body(media="FAX"))], **key
    )
    accepted = await call_concurrently(client.api, [(CREATE, client.creation_body())], **key)
    assert error_names([*refused, *accepted]) == ["INVALIDPARAMETERVALUE", "OK"]


async def test_raced(client: CommunicationsClient) -> None:
    answers = await call_concurrently(client.api, [(CREATE, client.creation_body(**MAIL))] * 20)
    assert error_names(answers) == ["OK"] * 20
    for member in ("id", "number", "code"):
        assert len({answer["data"][member] for answer in answers}) == 20
    ids = {answer["data"]["id"] for answer in answers}
    entries = await client.api.get(
        "communications/queue/list", media="EMAIL", number_of_results=1000
    )
    assert sorted(
        e["communication"]["id"] for e in entries if e["communication"]["id"] in ids
    ) == sorted(ids)
