"""Templates, sender and length limits: contract communications.md, sections 5.2 to 5.4."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import (
    LIMITED,
    OTHER_UNIT,
    CommunicationsClient,
    communications_client,
)
from tests.fixtures.organisation import UNIT, untouched
from tests.fixtures.service import Service, refusal

Json = dict[str, Any]
WHOLE: Json = {
    "direction": "INCOMING",
    "media": "LETTER",
    "subject": "From template",
    "content": "Dear all",
    "category_id": "MC1",
    "communication_queue_external_system_id": "ES1",
}
UNSAID: Json = {"direction": ..., "media": ..., "subject": ..., "content": ...}
"""A create that leaves the four texts and words to its template."""


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


def copied(said: Json) -> Json:
    """What a template fills, as the template's record says it."""
    system = said["communication_queue_external_system"]
    return {name: said[name] for name in ("direction", "media", "subject", "content")} | {
        "category_id": said["category"] and said["category"]["id"],
        "communication_queue_external_system_id": system and system["id"],
    }


async def test_every_value_is_copied(client: CommunicationsClient) -> None:
    template = await client.register_template(**WHOLE)
    said = await client.create(**UNSAID, template_identifier=template)
    assert copied(said) == WHOLE
    assert "template" not in str(said.keys())


async def test_the_fields_a_template_is_named_by(client: CommunicationsClient) -> None:
    template = await client.register_template(**WHOLE, alternative_code="ALT1")
    for named in (template, {"name": f" {template['id']} "}, {"alternative_code": "ALT1"}):
        assert copied(await client.create(**UNSAID, template_identifier=named)) == WHOLE
    assert await client.create_refused(template_identifier={"alternative_code": "alt1"}) == (
        "ENTITYNOTFOUND",
        "template_identifier",
    )


GIVEN: Json = {
    "direction": "OUTGOING",
    "media": "PHONE",
    "subject": "Mine",
    "content": "My own",
    "category_identifier": {"id": "MC2"},
    "communication_queue_external_system_identifier": {"id": "ES2"},
}
ASKED = {
    "category_identifier": "category_id",
    "communication_queue_external_system_identifier": "communication_queue_external_system_id",
}


@pytest.mark.parametrize("way", ["create", "update"])
@pytest.mark.parametrize("name", GIVEN)
async def test_a_value_of_the_request_wins(
    client: CommunicationsClient, name: str, way: str
) -> None:
    template, value = await client.register_template(**WHOLE), GIVEN[name]
    given = UNSAID | {name: value, "template_identifier": template}
    if way == "create":
        said = await client.create(**given)
    else:
        said = await client.call(
            "update",
            await client.create_draft(),
            **{n: v for n, v in given.items() if v is not ...},
        )
    expected = value["id"] if isinstance(value, dict) else value
    assert copied(said) == WHOLE | {ASKED.get(name, name): expected}


@pytest.mark.parametrize("way", ["create", "update"])
@pytest.mark.parametrize("nothing", [None, ""])
async def test_null_beside_a_template_counts_as_not_given(
    client: CommunicationsClient, way: str, nothing: Any
) -> None:
    template = await client.register_template(**WHOLE)
    given: Json = dict.fromkeys(("direction", "media", "subject", "content"), nothing)
    given |= dict.fromkeys(ASKED) | {"template_identifier": template}
    said = await (
        client.create(**given)
        if way == "create"
        else client.call("update", await client.create_draft(), **given)
    )
    assert copied(said) == WHOLE


async def test_on_update_a_template_overwrites_what_is_stored(client: CommunicationsClient) -> None:
    template = await client.register_template(media="SMS", subject="From template")
    draft = await client.create_draft(category_identifier={"id": "MC2"}, notes="kept")
    changed = await client.call("update", draft, template_identifier=template)
    assert copied(changed) == {
        "direction": "OUTGOING",
        "media": "SMS",
        "subject": "From template",
        "content": "Call us",
        "category_id": "MC2",
        "communication_queue_external_system_id": None,
    }
    assert changed["notes"] == "kept"


@pytest.mark.parametrize("name", ["media", "subject", "content"])
@pytest.mark.parametrize("given", [..., None])
async def test_what_is_missing_after_the_template(
    client: CommunicationsClient, name: str, given: Any
) -> None:
    template = await client.register_template(**{k: v for k, v in WHOLE.items() if k != name})
    refused = await client.create_refused(**UNSAID | {name: given}, template_identifier=template)
    assert refused == ("MANDATORYPARAMETER", name)


async def test_the_direction_of_a_template_is_outgoing_by_default(
    client: CommunicationsClient,
) -> None:
    template = await client.register_template(media="PHONE", subject="x", content="y")
    said = await client.create(**UNSAID, template_identifier=template)
    assert said["direction"] == "OUTGOING"


@pytest.mark.parametrize("media", [..., "EMAIL"])
async def test_an_email_template_needs_an_address(client: CommunicationsClient, media: Any) -> None:
    template = await client.register_template(**WHOLE | {"media": "EMAIL"})
    given = UNSAID | {"media": media, "template_identifier": template}
    assert await client.create_refused(**given) == ("MANDATORYPARAMETER", "to")
    assert await client.create_refused(**given, to="ab") == ("INVALIDPARAMETERVALUE", "to")
    assert (await client.create(**given, to="a@b"))["media"] == "EMAIL"
    draft = await client.create_draft()
    changing = {"template_identifier": template}
    assert await client.call_refused("update", draft, **changing) == ("MANDATORYPARAMETER", "to")


@pytest.mark.parametrize("way", ["create", "update"])
@pytest.mark.parametrize("state", ["NOT_EFFECTIVE", None])
async def test_only_effective_templates_are_used(
    client: CommunicationsClient, state: str | None, way: str
) -> None:
    template = await client.register_template(**WHOLE, life_cycle_state=state)
    draft = await client.create_draft()
    async with untouched(client.api):
        refused = await (
            client.create_refused(template_identifier=template)
            if way == "create"
            else client.call_refused("update", draft, template_identifier=template)
        )
    assert refused == ("INVALIDLIFECYCLESTATE", "template_identifier")


async def test_a_template_of_other_units(client: CommunicationsClient) -> None:
    mine = await client.register_template(**WHOLE, allowed_unit_ids=[UNIT])
    theirs = await client.register_template(**WHOLE, allowed_unit_ids=[OTHER_UNIT])
    assert copied(await client.create(template_identifier=mine, **UNSAID)) == WHOLE
    assert await client.create_refused(template_identifier=theirs) == (
        "ENTITYNOTFOUND",
        "template_identifier",
    )
    token = await client.api.login(unit=OTHER_UNIT)
    body = client.creation_body(**UNSAID, token=token)
    answers = [
        await client.api.open("communications/create", body | {"template_identifier": template})
        for template in (theirs, mine)
    ]
    assert answers[0]["status"]["code"] == "OK"
    assert refusal(answers[1])[0] == "ENTITYNOTFOUND"


async def test_a_template_of_other_units_does_not_exist_whatever_its_state(
    client: CommunicationsClient,
) -> None:
    theirs = await client.register_template(
        allowed_unit_ids=[OTHER_UNIT], life_cycle_state="NOT_EFFECTIVE"
    )
    assert (await client.create_refused(template_identifier=theirs))[0] == "ENTITYNOTFOUND"


async def test_states_come_before_what_depends_on_values(client: CommunicationsClient) -> None:
    template = await client.register_template(life_cycle_state="NOT_EFFECTIVE")
    twice = [{"type": "INTEGER", "name": "n", "integer_value": 1}] * 2
    for given in (UNSAID, {"unrestricted_parameter_set": twice}):
        refused = await client.create_refused(**given, template_identifier=template)
        assert refused == ("INVALIDLIFECYCLESTATE", "template_identifier")
    draft = await client.create_draft()
    own = {"referring_to": {"communication_identifier": {"id": draft["id"]}}}
    for given in ({"unrestricted_parameter_set": [t | {"action": "ADD"} for t in twice]}, own):
        refused = await client.call_refused("update", draft, **given, template_identifier=template)
        assert refused == ("INVALIDLIFECYCLESTATE", "template_identifier")


SENDERS = [
    ("OUTGOING", "EMAIL", "info@crm.com"),
    ("OUTGOING", "SMS", "ACME"),
    ("OUTGOING", "PHONE", None),
    ("OUTGOING", "LETTER", None),
    ("OUTGOING", "FACE_TO_FACE", None),
    ("INCOMING", "EMAIL", None),
    ("INCOMING", "SMS", None),
]


@pytest_asyncio.fixture(scope="module")
async def sending(service: Service) -> CommunicationsClient:
    own = await communications_client(service)
    await own.register_settings(default_email_address="info@crm.com", default_sms_sender="ACME")
    return own


@pytest.mark.parametrize(("direction", "media", "sender"), SENDERS)
async def test_from(
    sending: CommunicationsClient, direction: str, media: str, sender: str | None
) -> None:
    given = {"direction": direction, "media": media, "to": "a@b"}
    assert (await sending.create(**given))["from"] == sender
    for before in SENDERS:
        draft = await sending.create_draft(direction=before[0], media=before[1], to="a@b")
        assert (await sending.call("update", draft, **given))["from"] == sender


async def test_from_is_set_anew_only_when_direction_or_media_changes(service: Service) -> None:
    own = await communications_client(service)
    draft = await own.create_draft(media="SMS")
    assert draft["from"] is None
    await own.register_settings(default_sms_sender="ACME")
    assert (await own.call("update", draft, subject="x", media="SMS"))["from"] is None
    assert (await own.call("update", draft, direction="INCOMING"))["from"] is None
    assert (await own.call("update", draft, direction="OUTGOING"))["from"] == "ACME"


async def test_limits_of_media(service: Service) -> None:
    own = await communications_client(service)
    await own.register_settings(content_limits={"SMS": 5})
    assert (await own.create(media="SMS", content="12345"))["content"] == "12345"
    assert await own.create_refused(media="SMS", content="123456") == (
        "INVALIDPARAMETERVALUE",
        "content",
    )
    assert (await own.create(content="123456"))["content"] == "123456"
    draft = await own.create_draft(content="123456")
    async with untouched(own.api):
        refused = await own.call_refused("update", draft, media="SMS")
    assert refused == ("INVALIDPARAMETERVALUE", "content")


@pytest.mark.parametrize(
    ("limit", "fits", "too_long"), [(20, "1" * 10, "1" * 11), (3, "123", "1234")]
)
async def test_the_smaller_limit_applies(
    service: Service, limit: int, fits: str, too_long: str
) -> None:
    own = await communications_client(service)
    await own.register_settings(content_limits={"PHONE": limit})
    system = {"communication_queue_external_system_identifier": {"id": LIMITED}}
    assert (await own.create(**system, content=fits))["content"] == fits
    assert await own.create_refused(**system, content=too_long) == (
        "INVALIDPARAMETERVALUE",
        "content",
    )


async def test_limits_count_the_characters_of_the_resolved_text(
    client: CommunicationsClient,
) -> None:
    system = {"communication_queue_external_system_identifier": {"id": LIMITED}}
    referring = {"referring_to": {"subscription_identifier": {"id": "SU1"}}}
    said = await client.create(**system, **referring, content="#subscription.number")
    assert said["content"] == "S60302"
    refused = await client.create_refused(
        **system, **referring, content="12345#subscription.number"
    )
    assert refused == ("INVALIDPARAMETERVALUE", "content")
    assert (await client.create(**system, content="é" * 10))["content"] == "é" * 10


async def test_the_longest_content_is_measured_after_resolution(
    client: CommunicationsClient,
) -> None:
    long = {"type": "STRING", "name": "long", "string_value": "x" * 4000}
    refused = await client.create_refused(
        content="#unrestricted_string.long" * 258, unrestricted_parameter_set=[long]
    )
    assert refused == ("INVALIDPARAMETERVALUE", "content")
