"""Substitution tags: contract communications.md, section 4."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.service import Service

Json = dict[str, Any]
ALL = {
    "subscription_identifier": {"id": "SU1"},
    "accounts_receivable_identifier": {"id": "AR1"},
    "activity_identifier": {"id": "AC1"},
    "bill_identifier": {"id": "BI1"},
    "payment_identifier": {"id": "PA1"},
    "payment_gateway_card_identifier": {"id": "CA1"},
    "notification_identifier": {"id": "NO1"},
    "rewards_participant_identifier": {"id": "RP1"},
}
PARAMETERS = [
    {"type": "STRING", "name": "test_string", "string_value": "text"},
    {"type": "STRING", "name": "test", "string_value": "short"},
    {"type": "FLOAT", "name": "f", "float_value": "10.50"},
    {"type": "FLOAT", "name": "whole", "float_value": 10.0},
    {"type": "INTEGER", "name": "n", "integer_value": -3},
    {"type": "DATE", "name": "d", "date_value": "2014-05-05T15:49:59"},
    {"type": "STRING", "name": "5", "string_value": "five"},
    {"type": "STRING", "name": "nested", "string_value": "#subscription.number"},
]


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    own = await communications_client(service)
    person: Json = {
        "type": "PERSON",
        "title": "Mr",
        "first_name": "Kyriacos",
        "last_name": "Xenofontos",
        "demographics": {
            "gender": "MALE",
            "id_number": "87878000",
            "id_number_expiration_date": "2030-01-02",
            "date_of_birth": {"day": 6, "month": 5, "year": 1988},
        },
    }
    own.contacts[0] = await own.new_contact(person)
    return own


RESOLVED = {
    # the contact
    "#contact_information.name": "Kyriacos Xenofontos",
    "#contact_information.first_name": "Kyriacos",
    "#contact_information.type": "PERSON",
    "#contact_information.life_cycle_state": "MARKETING",
    "#contact_information.id_number": "87878000",
    "#contact_information.gender": "MALE",
    "#contact_information.id_number_expiration_date": "Wed Jan 02 00:00:00 EET 2030",
    # referenced entities, every kind of value
    "#subscription.number": "S60302",
    "#subscription.life_cycle_state": "EFFECTIVE",
    "#subscription.first_activated_date": "Mon May 05 15:49:59 EEST 2014",
    "#accounts_receivable.name": "Main",
    "#activity.number": "ACT000133",
    "#bill.total_billed_amount": "497.41",
    "#payment.payment_amount": "10",
    "#payment_gateway_card.brand": "VISA",
    "#payment_gateway_card.expiration_year": "2030",
    "#rewards_participant.number": "RPN1",
    # unrestricted parameters
    "#unrestricted_string.test_string": "text",
    "#unrestricted_string.test": "short",
    "#unrestricted_float.f": "10.5",
    "#unrestricted_float.whole": "10",
    "#unrestricted_integer.n": "-3",
    "#unrestricted_date.d": "Mon May 05 15:49:59 EEST 2014",
    "#unrestricted_string.5": "five",
    # a known field without a value
    "[#payment_gateway_card.type]": "[]",
    "[#contact_information.middle_name]": "[]",
    "[#contact_information.passport_number]": "[]",
    "[#subscription.rating_state]": "[]",
    # where a tag ends
    "#subscription.number.": "S60302.",
    "#subscription.number-x": "S60302-x",
    "#subscription.number,#activity.number": "S60302,ACT000133",
    "#subscription.number#subscription.number": "S60302S60302",
    "##subscription.number": "#S60302",
    "x#subscription.number": "xS60302",
    "#subscription.number.id": "S60302.id",
    "é#subscription.numberé": "éS60302é",
    # one pass
    "#unrestricted_string.nested": "#subscription.number",
}
STAYS = [
    "#subscription.numbers",
    "#subscription.number_",
    "#subscription.number1",
    "#subscription.colour",
    "#subscription.type",
    "#subscription.accounts_receivable",
    "#accounts_receivable.account_owner",
    "#notification.contact_information",
    "#contact_information.date_of_birth",
    "#contact_information.demographics",
    "#contact_information.country_of_residence",
    "#contact_information.number",
    "#contact_information.notes",
    "#lead.number",
    "#service_request.number",
    "#communication.number",
    "#unrestricted_string.nothing",
    "#unrestricted_string.f",
    "#unrestricted_string.test_",
    "#unrestricted_text.test",
    "#unrestricted.test",
    "#unrestricted_STRING.test",
    "#Subscription.number",
    "#subscription.Number",
    "# subscription.number",
    "#subscription .number",
    "#subscription. number",
    "#subscription",
    "#subscription.",
    "#.number",
    "subscription.number",
    "#5",
    "#organisation.name",
    "#subscription.numbeŕ"[:-1] + "x",
]


async def content(client: CommunicationsClient, text: str) -> str:
    said = await client.create_draft(
        content=text, referring_to=ALL, unrestricted_parameter_set=PARAMETERS
    )
    return str(said["content"])


@pytest.mark.parametrize("text", RESOLVED)
async def test_resolved(client: CommunicationsClient, text: str) -> None:
    assert await content(client, text) == RESOLVED[text]


@pytest.mark.parametrize("text", STAYS)
async def test_stays(client: CommunicationsClient, text: str) -> None:
    assert await content(client, text) == text


async def test_both_texts_and_nothing_else(client: CommunicationsClient) -> None:
    tag = "#contact_information.first_name"
    said = await client.create(subject=tag, content=tag, notes=tag, to=tag, udf_string_1=tag)
    assert (said["subject"], said["content"]) == ("Kyriacos", "Kyriacos")
    assert {said[name] for name in ("notes", "to", "udf_string_1")} == {tag}


async def test_the_communication_referred_to(client: CommunicationsClient) -> None:
    first = await client.create(subject="First")
    await client.call("set_as_viewed", first, viewed_on="2014-05-05T15:49:59")
    said = await client.create(
        content="#communication.number #communication.subject #communication.viewed"
        " #communication.viewed_on #communication.contact_information #communication.content",
        referring_to={"communication_identifier": {"id": first["id"]}},
    )
    assert said["content"] == (
        f"{first['number']} First 1 Mon May 05 15:49:59 EEST 2014"
        " #communication.contact_information #communication.content"
    )


async def test_a_company_has_no_demographics(client: CommunicationsClient) -> None:
    contact = await client.new_contact({"type": "COMPANY", "company_name": "Acme & Sons"})
    said = await client.create(
        contact_information_identifier={"id": contact},
        content="[#contact_information.id_number] #contact_information.name",
    )
    assert said["content"] == "[] Acme & Sons"


async def test_inserted_values_are_not_scanned_until_the_next_update(
    client: CommunicationsClient,
) -> None:
    draft = await client.create_draft(
        content="#unrestricted_string.nested",
        referring_to=ALL,
        unrestricted_parameter_set=PARAMETERS,
    )
    assert draft["content"] == "#subscription.number"
    assert (await client.call("update", draft, notes="x"))["content"] == "S60302"


async def test_an_update_resolves_what_was_left_over_in_both_texts(
    client: CommunicationsClient,
) -> None:
    text = "#unrestricted_string.later #subscription.number"
    draft = await client.create_draft(subject=text, content=text)
    assert (draft["subject"], draft["content"]) == (text, text)
    later = [{"action": "ADD", "type": "STRING", "name": "later", "string_value": "now"}]
    changed = await client.call(
        "update",
        draft,
        referring_to={"subscription_identifier": {"id": "SU1"}},
        unrestricted_parameter_set=later,
    )
    assert (changed["subject"], changed["content"]) == ("now S60302", "now S60302")


async def test_an_update_uses_the_references_as_it_leaves_them(
    client: CommunicationsClient,
) -> None:
    draft = await client.create_draft(referring_to={"subscription_identifier": {"id": "SU1"}})
    gone = await client.call(
        "update",
        draft,
        content="#subscription.number",
        referring_to={"subscription_identifier": None},
    )
    assert gone["content"] == "#subscription.number"
    other = {"subscription_identifier": {"id": "SU2"}}
    assert (await client.call("update", gone, referring_to=other))["content"] == "S2"


async def test_only_the_resolved_text_is_kept(client: CommunicationsClient) -> None:
    sub = {"subscription_identifier": {"id": "SU1"}}
    draft = await client.create_draft(content="#subscription.number", referring_to=sub)
    other = {"subscription_identifier": {"id": "SU2"}}
    assert (await client.call("update", draft, referring_to=other))["content"] == "S60302"


async def test_completing_by_an_update_resolves(client: CommunicationsClient) -> None:
    draft = await client.create_draft(content="#subscription.number")
    done = await client.call(
        "update",
        draft,
        life_cycle_state="COMPLETED",
        referring_to={"subscription_identifier": {"id": "SU1"}},
    )
    assert done["content"] == "S60302"


async def test_a_template_is_resolved_too(client: CommunicationsClient) -> None:
    template = await client.register_template(
        media="PHONE", subject="#contact_information.first_name", content="#subscription.number"
    )
    said = await client.create(
        subject=..., content=..., media=..., template_identifier=template, referring_to=ALL
    )
    assert (said["subject"], said["content"]) == ("Kyriacos", "S60302")


async def test_a_renamed_contact_shows_its_new_name_while_texts_keep_the_old(
    client: CommunicationsClient,
) -> None:
    contact = await client.new_contact()
    named = {"id": contact}
    said = await client.create(
        contact_information_identifier=named,
        media="EMAIL",
        to="a@b",
        content="Dear #contact_information.first_name",
    )
    await client.update_contact(contact, first_name="Arya")
    now = await client.show(said)
    assert now["content"] == "Dear Tyrion"
    assert now["contact_information"]["first_name"] == "Arya"
    entries = await client.api.get(
        "communications/queue/list", media="EMAIL", contact_information_identifier=f"id={contact}"
    )
    shown = [entry["communication"]["contact_information"]["name"] for entry in entries]
    assert [name.split()[0] for name in shown] == ["Arya"]


@pytest.mark.parametrize(("given", "zone"), [("00:30:24Z", "EEST"), ("01:30:24Z", "EET")])
async def test_a_date_in_the_hour_that_is_repeated(
    client: CommunicationsClient, given: str, zone: str
) -> None:
    dated = {"type": "DATE", "name": "d", "date_value": f"2026-10-25T{given}"}
    said = await client.create(content="#unrestricted_date.d", unrestricted_parameter_set=[dated])
    shown = f"Sun Oct 25 03:30:24 {zone} 2026"
    assert said["content"] == said["unrestricted_parameter_set"][0]["date_value"] == shown
