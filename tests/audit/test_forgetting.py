"""A contact is forgotten: nothing personal is left, and everything else is (fault 34)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from infra.ledger.integrity import integrity_problems
from infra.postgres.embedded.server import EmbeddedPostgres
from tests.audit.test_past_rows import head
from tests.fixtures import databases
from tests.fixtures.auditors import Auditor, auditor
from tests.fixtures.organisation import query_rows, unknown_id
from tests.fixtures.read_models import connection, run_rebuild, run_verify
from tests.fixtures.service import RING, refusal, run_in_process
from tests.fixtures.service_requests import register_staff

Json = dict[str, Any]

SECRET_WORDS = ("Ermintrude", "Quizzlebury", "K-77125", "ermi@quizzlebury.example", "99887766")
"""What belongs to the person and stands nowhere else."""
LETTER = "Dear Ermintrude, your Quizzlebury bill"


@dataclass
class Person:
    """A contact with everything that a contact can have, and what was said to it."""

    id: str
    number: str
    draft: str
    sent: str
    entry: str
    token: str
    photo: str


def picture() -> bytes:
    image = BytesIO()
    Image.new("RGB", (2, 2)).save(image, "PNG")
    return image.getvalue()


async def person(made: Auditor, n: int = 0) -> Person:
    desk, key = made.desk, {"Idempotency-Key": unknown_id()}
    body = {
        "type": "PERSON",
        "first_name": "Ermintrude",
        "last_name": f"Quizzlebury {n}",
        "demographics": {"id_number": f"K-77125-{n}"},
        "phone_set": [{"type": "LANDLINE", "number": "99887766"}],
        "email_set": [{"type": "PERSONAL", "email_address": "ermi@quizzlebury.example"}],
        "notes": "Ermintrude likes tea",
        "udf_string_1": "Quizzlebury",
    }
    answer = await desk.api.call("POST", "contact_information/create", body=body, headers=key)
    id_ = answer["data"]["id"]
    entry = (await desk.show_contact(id_))["emails_set"][0]["id"]
    change = {"action": "UPDATE", "email_identifier": {"id": entry}, "type": "BUSINESS"}
    await desk.update_contact(id_, email_set=[change])
    named = {"contact_information_identifier": f"id={id_}"}
    await desk.api.call(
        "POST",
        "contact_information/profile_photo/add",
        form=named,
        file=("Ermintrude.png", picture(), "image/png"),
    )
    photo = await desk.api.get("contact_information/profile_photo/view", **named)
    to = {"contact_information_identifier": {"id": id_}, "content": LETTER}
    draft = await desk.create_draft(**to)
    mail = await desk.create_email(**to, to="ermi@quizzlebury.example")
    account = {"number": f"ACRF{n}", "life_cycle_state": "ACTIVE", "account_owner_id": id_}
    await desk.register("accounts_receivable", f"ARF{n}", **account)
    token = await desk.api.post(
        "access_tokens/create",
        identifier=f"ermi@quizzlebury.example{n}",
        pass_code="Quizzlebury",
        accounts_receivable_identifier={"id": f"ARF{n}"},
    )
    await desk.register("accounts_receivable", f"ARF{n}", **account | {"retired": True})
    shown = await desk.show_contact(id_)
    url = photo["file_content_url"]
    return Person(
        id_, shown["number"], draft["id"], mail["communication"]["id"], mail["id"], token["id"], url
    )


async def forget(
    made: Auditor, contact: str, role: str = "operator", **body: Any
) -> tuple[int, Json]:
    data = json.dumps({"reason": "asked for it by letter"} | body).encode()
    path = f"contacts/{contact}/forget"
    status, answer, _ = await made.ask(path, verb="POST", role=role, data=data)
    return status, answer


@pytest_asyncio.fixture(scope="module")
async def made(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Auditor]:
    """An organisation in a database of its own, because its views are built anew."""
    async with databases.database(postgres, template) as url, run_in_process(url) as service:
        yield await auditor(service)


@pytest_asyncio.fixture(scope="module")
async def gone(made: Auditor) -> tuple[Person, Json]:
    """A person who was forgotten, and the certificate."""
    who = await person(made)
    status, answer = await forget(made, who.number)
    assert (status, answer["status"]["code"]) == (200, "OK"), answer
    return who, answer["data"]


async def dump(made: Auditor) -> str:
    """Every row of the organisation in every table, as text; bytes as they are read."""
    api = made.desk.api
    async with connection(api.service.database) as owner:
        tables = await owner.fetch(
            "SELECT table_schema || '.' || table_name AS name FROM information_schema.columns"
            " WHERE column_name = 'organisation' AND table_schema IN ('ledger', 'views', 'temporal')"
        )
    found: list[str] = []
    for table in tables:
        sql = f"SELECT t::text AS row FROM {table['name']} t WHERE organisation = $1"
        found += [row["row"] for row in await query_rows(api, sql)]
    return "\n".join(found)


async def test_nothing_personal_is_left_anywhere(made: Auditor, gone: tuple[Person, Json]) -> None:
    text = await dump(made)
    for word in SECRET_WORDS:
        assert word not in text
        assert word.encode().hex() not in text


async def test_documents_are_shown_without_it(made: Auditor, gone: tuple[Person, Json]) -> None:
    who, _ = gone
    shown = await made.desk.show_contact(who.id)
    assert (shown["number"], shown["type"]) == (who.number, "PERSON")
    assert [shown[k] for k in ("first_name", "last_name", "notes", "udf_string_1")] == [None] * 4
    assert shown["emails_set"] == shown["phones_set"] == []
    said = await made.desk.show({"id": who.sent})
    assert (said["subject"], said["content"], said["to"]) == (None, None, None)
    assert (said["direction"], said["media"], said["life_cycle_state"]) == (
        "OUTGOING",
        "EMAIL",
        "COMPLETED",
    )


async def test_what_waited_to_be_sent_is_off_the_queue(
    made: Auditor, gone: tuple[Person, Json]
) -> None:
    entry = await made.desk.show_queue_entry(gone[0].entry)
    assert entry["life_cycle_state"] == "COMPLETED_AND_REMOVED"


async def test_the_photo_is_gone(made: Auditor, gone: tuple[Person, Json]) -> None:
    token = {"token": made.desk.api.token}
    path, _, query = gone[0].photo.partition("?")
    status, _, _ = await made.desk.api.service.send(
        "GET", path, query=token | {"id": query.removeprefix("id=")}
    )
    assert status == 404


async def test_nobody_finds_the_person_and_nothing_new_is_said_of_it(
    made: Auditor, gone: tuple[Person, Json]
) -> None:
    who, desk = gone[0], made.desk
    found = await desk.api.get("contact_information/list", id_number="K-77125-0")
    assert found == []
    to = {"id": who.id}
    assert await desk.create_refused(contact_information_identifier=to) == (
        "ENTITYNOTFOUND",
        "contact_information_identifier",
    )
    assert (await desk.update_refused(who.id, notes="x"))[0] == "ENTITYNOTFOUND"
    assert (await desk.call_refused("complete", {"id": who.draft}))[0] == "ENTITYNOTFOUND"
    # The name and the number are free again.
    body = {"first_name": "Ermintrude", "last_name": "Quizzlebury 0"}
    again = await desk.new_contact(type="PERSON", demographics={"id_number": "K-77125-0"}, **body)
    assert (await forget(made, again))[0] == 200


async def test_the_access_tokens_of_its_accounts_go_with_it(
    made: Auditor, gone: tuple[Person, Json]
) -> None:
    shown = {"identifier": "ermi@quizzlebury.example0", "pass_code": "Quizzlebury"}
    refused = await made.desk.api.refused("access_tokens/show", access_token_identifier=shown)
    assert refused == ("ENTITYNOTFOUND", "access_token_identifier")


async def test_the_certificate_says_where_the_data_lived(
    made: Auditor, gone: tuple[Person, Json]
) -> None:
    who, certificate = gone
    assert certificate["contact"] == who.id
    assert certificate["reason"] == "asked for it by letter"
    assert certificate["keys"] == {"destroyed": 2, "left": 0}
    assert certificate["access_tokens"] == [who.token]
    topics = {row["topic"] for row in certificate["unreadable_events"]}
    assert topics >= {
        "contact_information.registered",
        "communication.drafted",
        "access_token.issued",
    }
    assert certificate["left"]["records"] == ["accounts_receivable/ARF0"]
    assert await made.get(f"contacts/{who.id}/certificate") == certificate


async def test_the_ledger_is_whole_and_the_views_are_its_fold(
    made: Auditor, gone: tuple[Person, Json]
) -> None:
    api = made.desk.api
    async with connection(api.service.database) as owner:
        assert await integrity_problems(owner, api.organisation, RING) == []
    assert (await run_verify(api.service.database)).differences == []


async def test_an_older_copy_of_the_key_is_not_taken_in(
    made: Auditor, gone: tuple[Person, Json]
) -> None:
    api = made.desk.api
    async with connection(api.service.database) as owner:
        put = (
            "INSERT INTO ledger.personal_keys (organisation, subject, wrapped) VALUES ($1, $2, 'x')"
        )
        assert await owner.execute(put, api.organisation, gone[0].id) == "INSERT 0 0"


@pytest.mark.parametrize("role", ["service", "auditor", "analyst"])
async def test_only_operators_may(made: Auditor, role: str) -> None:
    status, answer = await forget(made, made.desk.recipient, role=role)
    assert (status, refusal(answer)[0]) == (403, "ACCESSDENIED")


@pytest.mark.parametrize("reason", [None, "", " "])
async def test_a_reason_must_be_given(made: Auditor, reason: str | None) -> None:
    status, answer = await forget(made, made.desk.recipient, reason=reason)
    assert (status, refusal(answer)) == (400, ("MANDATORYPARAMETER", "reason"))


async def test_whoever_owns_an_account_cannot_be_forgotten(made: Auditor) -> None:
    owner = await made.desk.new_contact()
    await made.desk.register("accounts_receivable", "ARO", account_owner_id=owner)
    status, answer = await forget(made, owner)
    assert (status, refusal(answer)[0]) == (400, "INVALIDLIFECYCLESTATE")


async def test_nobody_is_forgotten_twice(made: Auditor, gone: tuple[Person, Json]) -> None:
    status, answer = await forget(made, gone[0].id)
    assert (status, refusal(answer)) == (400, ("INVALIDLIFECYCLESTATE", "contact"))


@pytest.mark.parametrize(
    "path", [f"contacts/{unknown_id()}/certificate", "contacts/CI999999/certificate"]
)
async def test_what_was_not_forgotten_has_no_certificate(made: Auditor, path: str) -> None:
    for unknown in (path, f"contacts/{made.desk.recipient}/certificate"):
        status, answer, _ = await made.ask(unknown)
        assert (status, refusal(answer)[0]) == (404, "ENTITYNOTFOUND")


async def test_what_is_said_at_the_same_moment_is_erased_or_refused(made: Auditor) -> None:
    desk = made.desk
    for n in range(4):
        who = await desk.new_contact(first_name="Ermintrude", last_name=f"Raced {n}", type="PERSON")
        to = desk.creation_body(
            contact_information_identifier={"id": who}, content=f"Quizzlebury raced {n}"
        )
        said = [desk.api.call("POST", "communications/create", body=to) for _ in range(12)]
        changed = [
            desk.api.call(
                "POST",
                "contact_information/update",
                body={"contact_information_identifier": {"id": who}, "notes": f"Quizzlebury {i}"},
            )
            for i in range(3)
        ]
        await asyncio.gather(*said[:6], forget(made, who), *said[6:], *changed)
    text = await dump(made)
    assert "Quizzlebury" not in text


async def test_a_rebuild_brings_nothing_back(made: Auditor, gone: tuple[Person, Json]) -> None:
    await run_rebuild(made.desk.api.service.database)
    text = await dump(made)
    assert not [word for word in SECRET_WORDS if word in text]


async def test_what_has_no_text_is_not_taken_for_erased(made: Auditor) -> None:
    desk = made.desk
    contact = await desk.new_contact()
    await desk.register(
        "communication_template", "BARE", name="Bare", media="SMS", life_cycle_state="EFFECTIVE"
    )
    given: Json = dict.fromkeys(("direction", "media", "subject", "content"))
    given |= {"template_identifier": {"id": "BARE"}}
    given |= {"contact_information_identifier": {"id": contact}}
    bare = await desk.create_draft(**given)
    position = await head(made)
    await run_rebuild(desk.api.service.database)
    assert (await run_verify(desk.api.service.database)).differences == []
    by_number = {"communication_identifier": {"number": bare["number"]}}
    await desk.api.post("communications/complete", **by_number)
    named = {"communication_identifier": f"number={bare['number']}"}
    then = await made.get("as_of/communications/show", as_of=position, **named)
    assert (then["number"], then["subject"]) == (bare["number"], None)
    assert (await forget(made, contact))[0] == 200
    refused = await desk.api.refused("communications/set_as_viewed", **by_number)
    assert refused[0] == "ENTITYNOTFOUND"
    assert (await run_verify(desk.api.service.database)).differences == []


async def test_entries_that_changed_before_their_content_was_erased(made: Auditor) -> None:
    desk, address = made.desk, "ermi@quizzlebury.example"
    entries = [{"type": kind, "email_address": address} for kind in ("PERSONAL", "BUSINESS")]
    contact = await desk.new_contact(email_set=entries)
    named = {"email_identifier": {"type": "PERSONAL"}}
    await desk.update_contact(contact, email_set=[{"action": "UPDATE", **named, "notes": "x"}])
    await desk.update_contact(contact, email_set=[{"action": "REMOVE", **named}])
    assert (await forget(made, contact))[0] == 200
    assert (await desk.show_contact(contact))["emails_set"] == []
    await run_rebuild(desk.api.service.database)
    assert (await run_verify(desk.api.service.database)).differences == []


async def test_the_service_requests_of_a_caller_are_erased(made: Auditor) -> None:
    help_desk = await register_staff(made.desk.api)
    caller = {"contact_information_identifier": {"id": help_desk.relative}}
    words = {"description": "Quizzlebury's modem", "caller_email": "ermi@quizzlebury.example"}
    request = await help_desk.create(**caller, **words)
    assert (await forget(made, help_desk.relative))[0] == 200
    shown = await help_desk.show(request)
    assert [shown[name] for name in words] == [None, None]
    assert (shown["number"], shown["life_cycle_state"]) == (request["number"], "PENDING")
    assert "Quizzlebury's modem" not in await dump(made)
    assert await help_desk.call_refused("update", request, notes="x") == (
        "INVALIDLIFECYCLESTATE",
        "",
    )
