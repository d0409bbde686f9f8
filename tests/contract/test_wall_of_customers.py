"""What customers see and may do of what is theirs: contract common.md, section 11."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.contract.test_wall_matrix import image
from tests.fixtures.access_tokens import (
    ON,
    ConsumerSession,
    TokensClient,
    by_code,
    by_pass_code,
    tokens_client,
)
from tests.fixtures.communications import call_concurrently, new_key
from tests.fixtures.organisation import COMMUNICATION_CATEGORY, untouched
from tests.fixtures.service import Api, Service, refusal

Json = dict[str, Any]
CONTACT, ACCOUNT = "contact_information_identifier", "accounts_receivable_identifier"
PARTICIPANT = "rewards_participant_identifier"
INCOMING: Json = {"direction": "INCOMING", "media": "PHONE", "subject": "x", "content": "y"}


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


@pytest_asyncio.fixture(scope="module")
async def own(client: TokensClient) -> ConsumerSession:
    return await client.consumer_session()


@pytest_asyncio.fixture(scope="module")
async def other(client: TokensClient) -> ConsumerSession:
    return await client.consumer_session()


def named(customer: ConsumerSession) -> Json:
    return {CONTACT: {"id": customer.contact}}


async def ids(api: Api, path: str, **query: Any) -> list[str]:
    return [one["id"] for one in await api.get(path, **query)]


async def test_lists_leave_out_what_is_another_s(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    category = {"category_identifier": {"id": COMMUNICATION_CATEGORY}}
    said = [await client.create(**named(customer), **category) for customer in (own, other, own)]
    query = {"category_identifier": f"id={COMMUNICATION_CATEGORY}"}
    found = await ids(own.api, "communications/list", **query)
    assert found == [said[0]["id"], said[2]["id"]]
    assert await ids(own.api, "communications/list", **query, offset=1) == [said[2]["id"]]
    assert await ids(client.api, "communications/list", **query) == [one["id"] for one in said]
    asked = {ACCOUNT: f"id={own.account}"}
    assert await ids(own.api, "access_tokens/list", **asked) == [own.token["id"]]


async def test_tokens_of_the_account_directly_or_through_its_participant(
    client: TokensClient, own: ConsumerSession
) -> None:
    second = await client.register_account(account_owner_id=own.contact)
    through = await client.create_token(**{PARTICIPANT: {"id": own.participant}})
    beside = await client.create_token(**{ACCOUNT: {"id": second}})
    nobody_s = await client.create_token()
    for token, name in ((through, "OK"), (beside, "ENTITYNOTFOUND"), (nobody_s, "ENTITYNOTFOUND")):
        answer = await own.api.call("POST", "access_tokens/show", body={ON: by_code(token)})
        assert (name if answer["status"]["code"] == "OK" else refusal(answer)[0]) == name
    listed = await ids(own.api, "access_tokens/list", **{PARTICIPANT: f"id={own.participant}"})
    assert listed == [through["id"]]
    answer = await own.api.call("GET", "access_tokens/list", query={ACCOUNT: f"id={second}"})
    assert refusal(answer) == ("ENTITYNOTFOUND", ACCOUNT)


async def test_an_identifier_that_several_have_means_the_own_one(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    for customer in (own, other):
        await client.update_contact(customer.contact, demographics={"passport_number": "SHARED"})
    shared = {CONTACT: "passport_number=SHARED", "fields_set": "id"}
    for customer in (own, other):
        shown = await customer.api.get("contact_information/show", **shared)
        assert shown == {"id": customer.contact}
    answer = await client.api.call("GET", "contact_information/show", query=shared)
    assert refusal(answer)[0] == "ENTITYNOTUNIQUE"


OUTGOING = INCOMING | {"direction": "OUTGOING"}


async def test_only_incoming_communications_are_written(
    client: TokensClient, own: ConsumerSession
) -> None:
    template = await client.register_template(**OUTGOING)
    allowed = await client.register_template(**INCOMING)
    draft = await client.create_draft(**named(own) | OUTGOING)
    received = await client.create_draft(**named(own) | INCOMING)
    create, update = "communications/create", "communications/update"
    on = {"communication_identifier": {"id": received["id"]}}
    said = await client.create(**named(own) | OUTGOING)
    denied: list[tuple[str, Json]] = [
        (update, {"communication_identifier": {"id": draft["id"]}}),
        (update, {"communication_identifier": {"id": said["id"]}, "subject": "x"}),
        (create, named(own) | OUTGOING),
        (create, named(own) | {"template_identifier": template}),
        (create, named(own) | {"template_identifier": allowed, "direction": "OUTGOING"}),
        (update, {"communication_identifier": {"id": draft["id"]}, "subject": "x"}),
        (update, {"communication_identifier": {"id": draft["id"]}, "direction": "INCOMING"}),
        (update, on | {"direction": "OUTGOING"}),
        (update, on | {"template_identifier": template}),
    ]
    async with untouched(client.api):
        for path, body in denied:
            assert (await own.api.refused(path, **body))[0] == "ACCESSDENIED", body
    await own.api.post(create, **named(own) | {"template_identifier": allowed})
    done = await own.api.post(update, **on, life_cycle_state="COMPLETED")
    assert done["life_cycle_state"] == "COMPLETED"


async def test_nothing_is_written_for_another(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    async with untouched(client.api):
        refused = await own.api.refused("communications/create", **named(other) | INCOMING)
    assert refused == ("ENTITYNOTFOUND", CONTACT)


async def owned_by(client: TokensClient, customer: ConsumerSession) -> Json:
    """Something of every kind that communications refer to and that is a customer's."""
    subscription, lead, job = (f"{kind}{customer.account}" for kind in ("SU", "LE", "JO"))
    await client.register("subscription", subscription, accounts_receivable_id=customer.account)
    await client.register("lead", lead, contact_information_id=customer.contact)
    await client.register("job", job, accounts_receivable_id=customer.account)
    said = await client.create(**named(customer))
    return {
        "subscription": {"id": subscription},
        "lead": {"id": lead},
        "job": {"id": job},
        "accounts_receivable": {"number": customer.account},
        "rewards_participant": {"number": customer.participant},
        "communication": {"number": said["number"]},
        "access_token": by_code(customer.token),
    }


async def test_what_is_another_s_cannot_be_referred_to(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    mine, theirs = await owned_by(client, own), await owned_by(client, other)
    body = named(own) | INCOMING
    for kind, identifier in theirs.items():
        links = {f"{kind}_identifier": identifier}
        async with untouched(client.api):
            refused = await own.api.refused("communications/create", **body, referring_to=links)
        assert refused[0] == "ENTITYNOTFOUND", kind
    links = {f"{kind}_identifier": identifier for kind, identifier in mine.items()}
    said = await own.api.post("communications/create", **body, referring_to=links)
    assert [kind for kind in mine if said["referring_to"][kind] is None] == []


async def test_what_is_another_s_is_shown_as_null(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    """An operator may refer to whatever there is; customers do not see what is another one's."""
    theirs = await owned_by(client, other)
    nobody_s = await client.create_token()
    links = {f"{kind}_identifier": identifier for kind, identifier in theirs.items()}
    for given in (links, links | {ON: by_code(nobody_s)}):
        said = await client.create(**named(own), referring_to=given)
        asked = {"communication_identifier": f"id={said['id']}"}
        seen = await own.api.get("communications/show", **asked)
        assert [k for k in theirs if seen["referring_to"][k] is not None] == []
        assert seen | {"referring_to": 0} == said | {"referring_to": 0}
        assert (await own.api.get("communications/list", **_contact(own)))[-1] == seen
        viewed = {"communication_identifier": {"id": said["id"]}}
        await own.api.post("communications/set_as_viewed", **viewed)


def _contact(customer: ConsumerSession) -> Json:
    return {CONTACT: f"id={customer.contact}"}


async def test_contacts_of_others_are_shown_as_null(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    relation = {"action": "ADD", "type": "FRIEND", CONTACT: {"id": other.contact}}
    full = await client.update_contact(own.contact, relation_set=[relation])
    assert full["relation_set"][-1]["contact"]["id"] == other.contact
    seen = await own.api.get("contact_information/show", **_contact(own))
    assert seen["relation_set"][-1] == full["relation_set"][-1] | {"contact": None}
    changed = await own.api.post("contact_information/update", **named(own), middle_name="M")
    assert changed["relation_set"] == seen["relation_set"]
    refused = await own.api.refused(
        "contact_information/update", **named(own), relation_set=[relation | {"type": "CLIENT"}]
    )
    assert refused[0] == "ENTITYNOTFOUND"


async def test_follow_ups_with_others_are_left_out(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    first = await client.create(**named(own))
    links = {"referring_to": {"communication_identifier": {"id": first["id"]}}}
    said = [await client.create(**named(customer), **links) for customer in (other, own)]
    asked = {"communication_identifier": f"id={first['id']}"}
    seen = await own.api.get("communications/show", **asked)
    assert [one["id"] for one in seen["follow_up_set"]] == [said[1]["id"]]
    whole = await client.show(first)
    assert [one["id"] for one in whole["follow_up_set"]] == [one["id"] for one in said]


async def test_tokens_of_others_prove_nothing(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    theirs = await client.create_keyed_token(**{ACCOUNT: {"id": other.account}})
    password = await client.one_time_password(theirs)
    for shown, name in (
        (by_code(theirs), "ENTITYNOTFOUND"),
        (by_pass_code(theirs), "ENTITYNOTFOUND"),
        ({"one_time_password": password}, "INVALIDONETIMEPASSWORD"),
        (by_code(theirs) | {"one_time_password": password}, "ENTITYNOTFOUND"),
        ({"identifier": theirs["identifier"], "one_time_password": password}, "INVALIDONETIMEPASSWORD"),
    ):  # fmt: skip
        body = named(own) | INCOMING | {"referring_to": {ACCOUNT: {ON: shown}}}
        async with untouched(client.api):
            assert (await own.api.refused("communications/create", **body))[0] == name
    links = {"referring_to": {ACCOUNT: {ON: {"one_time_password": password}}}}
    said = await other.api.post("communications/create", **named(other) | INCOMING | links)
    assert said["referring_to"]["accounts_receivable"]["id"] == other.account


async def test_profile_photos_of_others(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    addresses = []
    for customer in (own, other):
        photo = await customer.api.call(
            "POST",
            "contact_information/profile_photo/add",
            form={CONTACT: f"id={customer.contact}"},
            file=("me.png", image(), "image/png"),
        )
        addresses.append(photo["data"]["file_content_url"])
    path, _, id_ = addresses[1].partition("?id=")
    found = []
    for api in (other.api, client.api, own.api):
        query = {"id": id_, "token": api.token}
        status, answer, _ = await client.api.service.send("GET", path, query=query)
        found.append(status)
    assert found == [200, 200, 404]
    assert refusal(answer)[0] == "ENTITYNOTFOUND"


async def test_the_log_shows_the_user_of_the_application(
    client: TokensClient, own: ConsumerSession
) -> None:
    said = await own.api.post("communications/create", **named(own) | INCOMING)
    assert said["log_information"]["created_by_user"]["username"] == "demo"


async def test_a_key_of_another_customer_s_call_shows_nothing(
    client: TokensClient, own: ConsumerSession, other: ConsumerSession
) -> None:
    """The same body and the same Idempotency-Key, from two customers and from the back office."""
    key = {"Idempotency-Key": new_key()}
    call = ("communications/create", named(own) | INCOMING)
    (first,) = await call_concurrently(own.api, [call], **key)
    assert first["status"]["code"] == "OK"
    (answer,) = await call_concurrently(other.api, [call], **key)
    assert refusal(answer)[0] == "ENTITYNOTFOUND"
    (answer,) = await call_concurrently(client.api, [call], **key)
    assert answer["data"]["id"] != first["data"]["id"]
    assert await call_concurrently(own.api, [call], **key) == [first]


@pytest.mark.parametrize("change", ["owner", "participant"])
async def test_what_changes_hands_goes_out_of_sight(client: TokensClient, change: str) -> None:
    moved = await client.consumer_session()
    token = await client.create_token(**{PARTICIPANT: {"id": moved.participant}})
    show = ("access_tokens/show", {ON: by_code(token)})
    await moved.api.post(show[0], **show[1])
    if change == "owner":
        await client.register_account(moved.account, account_owner_id=client.recipient)
        expected = "INVALIDTOKEN"
    else:
        await client.register_participant("AR1", moved.participant)
        expected = "ENTITYNOTFOUND"
    assert (await moved.api.refused(show[0], **show[1]))[0] == expected
