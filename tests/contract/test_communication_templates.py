"""Templates, sender and length limits: contract communications.md, sections 5.2 to 5.4."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.communications_world import LIMITED, OTHER_UNIT, Desk, desk
from tests.service import Service, refusal
from tests.world import UNIT, untouched

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
async def here(service: Service) -> Desk:
    return await desk(service)


def copied(said: Json) -> Json:
    """What a template fills, as the template's record says it."""
    system = said["communication_queue_external_system"]
    return {name: said[name] for name in ("direction", "media", "subject", "content")} | {
        "category_id": said["category"] and said["category"]["id"],
        "communication_queue_external_system_id": system and system["id"],
    }


async def test_every_value_is_copied(here: Desk) -> None:
    template = await here.template(**WHOLE)
    said = await here.say(**UNSAID, template_identifier=template)
    assert copied(said) == WHOLE
    assert "template" not in str(said.keys())


async def test_the_fields_a_template_is_named_by(here: Desk) -> None:
    template = await here.template(**WHOLE, alternative_code="ALT1")
    for named in (template, {"name": f" {template['id']} "}, {"alternative_code": "ALT1"}):
        assert copied(await here.say(**UNSAID, template_identifier=named)) == WHOLE
    assert await here.unsaid(template_identifier={"alternative_code": "alt1"}) == (
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
async def test_a_value_of_the_request_wins(here: Desk, name: str, way: str) -> None:
    template, value = await here.template(**WHOLE), GIVEN[name]
    given = UNSAID | {name: value, "template_identifier": template}
    if way == "create":
        said = await here.say(**given)
    else:
        said = await here.on(
            "update", await here.draft(), **{n: v for n, v in given.items() if v is not ...}
        )
    expected = value["id"] if isinstance(value, dict) else value
    assert copied(said) == WHOLE | {ASKED.get(name, name): expected}


@pytest.mark.parametrize("way", ["create", "update"])
@pytest.mark.parametrize("nothing", [None, ""])
async def test_null_beside_a_template_counts_as_not_given(
    here: Desk, way: str, nothing: Any
) -> None:
    template = await here.template(**WHOLE)
    given: Json = dict.fromkeys(("direction", "media", "subject", "content"), nothing)
    given |= dict.fromkeys(ASKED) | {"template_identifier": template}
    said = await (
        here.say(**given) if way == "create" else here.on("update", await here.draft(), **given)
    )
    assert copied(said) == WHOLE


async def test_on_update_a_template_overwrites_what_is_stored(here: Desk) -> None:
    template = await here.template(media="SMS", subject="From template")
    draft = await here.draft(category_identifier={"id": "MC2"}, notes="kept")
    changed = await here.on("update", draft, template_identifier=template)
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
async def test_what_is_missing_after_the_template(here: Desk, name: str, given: Any) -> None:
    template = await here.template(**{k: v for k, v in WHOLE.items() if k != name})
    refused = await here.unsaid(**UNSAID | {name: given}, template_identifier=template)
    assert refused == ("MANDATORYPARAMETER", name)


async def test_the_direction_of_a_template_is_outgoing_by_default(here: Desk) -> None:
    template = await here.template(media="PHONE", subject="x", content="y")
    said = await here.say(**UNSAID, template_identifier=template)
    assert said["direction"] == "OUTGOING"


@pytest.mark.parametrize("media", [..., "EMAIL"])
async def test_an_email_template_needs_an_address(here: Desk, media: Any) -> None:
    template = await here.template(**WHOLE | {"media": "EMAIL"})
    given = UNSAID | {"media": media, "template_identifier": template}
    assert await here.unsaid(**given) == ("MANDATORYPARAMETER", "to")
    assert await here.unsaid(**given, to="ab") == ("INVALIDPARAMETERVALUE", "to")
    assert (await here.say(**given, to="a@b"))["media"] == "EMAIL"
    draft = await here.draft()
    changing = {"template_identifier": template}
    assert await here.not_on("update", draft, **changing) == ("MANDATORYPARAMETER", "to")


@pytest.mark.parametrize("way", ["create", "update"])
@pytest.mark.parametrize("state", ["NOT_EFFECTIVE", None])
async def test_only_effective_templates_are_used(here: Desk, state: str | None, way: str) -> None:
    template = await here.template(**WHOLE, life_cycle_state=state)
    draft = await here.draft()
    async with untouched(here.api):
        refused = await (
            here.unsaid(template_identifier=template)
            if way == "create"
            else here.not_on("update", draft, template_identifier=template)
        )
    assert refused == ("INVALIDLIFECYCLESTATE", "template_identifier")


async def test_a_template_of_other_units(here: Desk) -> None:
    mine = await here.template(**WHOLE, allowed_unit_ids=[UNIT])
    theirs = await here.template(**WHOLE, allowed_unit_ids=[OTHER_UNIT])
    assert copied(await here.say(template_identifier=mine, **UNSAID)) == WHOLE
    assert await here.unsaid(template_identifier=theirs) == (
        "ENTITYNOTFOUND",
        "template_identifier",
    )
    token = await here.api.login(unit=OTHER_UNIT)
    body = here.body(**UNSAID, token=token)
    answers = [
        await here.api.open("communications/create", body | {"template_identifier": template})
        for template in (theirs, mine)
    ]
    assert answers[0]["status"]["code"] == "OK"
    assert refusal(answers[1])[0] == "ENTITYNOTFOUND"


async def test_a_template_of_other_units_does_not_exist_whatever_its_state(here: Desk) -> None:
    theirs = await here.template(allowed_unit_ids=[OTHER_UNIT], life_cycle_state="NOT_EFFECTIVE")
    assert (await here.unsaid(template_identifier=theirs))[0] == "ENTITYNOTFOUND"


async def test_states_come_before_what_depends_on_values(here: Desk) -> None:
    template = await here.template(life_cycle_state="NOT_EFFECTIVE")
    twice = [{"type": "INTEGER", "name": "n", "integer_value": 1}] * 2
    for given in (UNSAID, {"unrestricted_parameter_set": twice}):
        refused = await here.unsaid(**given, template_identifier=template)
        assert refused == ("INVALIDLIFECYCLESTATE", "template_identifier")
    draft = await here.draft()
    own = {"referring_to": {"communication_identifier": {"id": draft["id"]}}}
    for given in ({"unrestricted_parameter_set": [t | {"action": "ADD"} for t in twice]}, own):
        refused = await here.not_on("update", draft, **given, template_identifier=template)
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
async def sending(service: Service) -> Desk:
    own = await desk(service)
    await own.settings(default_email_address="info@crm.com", default_sms_sender="ACME")
    return own


@pytest.mark.parametrize(("direction", "media", "sender"), SENDERS)
async def test_from(sending: Desk, direction: str, media: str, sender: str | None) -> None:
    given = {"direction": direction, "media": media, "to": "a@b"}
    assert (await sending.say(**given))["from"] == sender
    for before in SENDERS:
        draft = await sending.draft(direction=before[0], media=before[1], to="a@b")
        assert (await sending.on("update", draft, **given))["from"] == sender


async def test_from_is_set_anew_only_when_direction_or_media_changes(service: Service) -> None:
    own = await desk(service)
    draft = await own.draft(media="SMS")
    assert draft["from"] is None
    await own.settings(default_sms_sender="ACME")
    assert (await own.on("update", draft, subject="x", media="SMS"))["from"] is None
    assert (await own.on("update", draft, direction="INCOMING"))["from"] is None
    assert (await own.on("update", draft, direction="OUTGOING"))["from"] == "ACME"


async def test_limits_of_media(service: Service) -> None:
    own = await desk(service)
    await own.settings(content_limits={"SMS": 5})
    assert (await own.say(media="SMS", content="12345"))["content"] == "12345"
    assert await own.unsaid(media="SMS", content="123456") == ("INVALIDPARAMETERVALUE", "content")
    assert (await own.say(content="123456"))["content"] == "123456"
    draft = await own.draft(content="123456")
    async with untouched(own.api):
        refused = await own.not_on("update", draft, media="SMS")
    assert refused == ("INVALIDPARAMETERVALUE", "content")


@pytest.mark.parametrize(
    ("limit", "fits", "too_long"), [(20, "1" * 10, "1" * 11), (3, "123", "1234")]
)
async def test_the_smaller_limit_applies(
    service: Service, limit: int, fits: str, too_long: str
) -> None:
    own = await desk(service)
    await own.settings(content_limits={"PHONE": limit})
    system = {"communication_queue_external_system_identifier": {"id": LIMITED}}
    assert (await own.say(**system, content=fits))["content"] == fits
    assert await own.unsaid(**system, content=too_long) == ("INVALIDPARAMETERVALUE", "content")


async def test_limits_count_the_characters_of_the_resolved_text(here: Desk) -> None:
    system = {"communication_queue_external_system_identifier": {"id": LIMITED}}
    referring = {"referring_to": {"subscription_identifier": {"id": "SU1"}}}
    said = await here.say(**system, **referring, content="#subscription.number")
    assert said["content"] == "S60302"
    refused = await here.unsaid(**system, **referring, content="12345#subscription.number")
    assert refused == ("INVALIDPARAMETERVALUE", "content")
    assert (await here.say(**system, content="é" * 10))["content"] == "é" * 10


async def test_the_longest_content_is_measured_after_resolution(here: Desk) -> None:
    long = {"type": "STRING", "name": "long", "string_value": "x" * 255}
    refused = await here.unsaid(
        content="#unrestricted_string.long" * 258, unrestricted_parameter_set=[long]
    )
    assert refused == ("INVALIDPARAMETERVALUE", "content")
