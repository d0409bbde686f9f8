"""What registering does to contacts, and what it does at the same moment.

Contract: contact_information.md, section 9; reference_entities.md, section 1.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

from infra.http.operators.reference import REFERENCE
from tests.fixtures.operators import Operator
from tests.fixtures.organisation import OrganisationClient, query_rows, unknown_id, untouched
from tests.fixtures.service import OPERATOR_KEY, refusal

AR = "accounts_receivable"


async def state(w: OrganisationClient, contact: str) -> str:
    """The contact's life cycle state, which show and the objects of others agree on."""
    other = await w.new_contact(
        relation_set=[{"type": "FRIEND", "contact_information_identifier": {"id": contact}}]
    )
    full = await w.show_contact(contact)
    assert (await w.show_contact(other))["relation_set"][0]["contact"]["life_cycle_state"] == full[
        "life_cycle_state"
    ]
    return str(full["life_cycle_state"])


async def versions(w: OrganisationClient, stream: str) -> list[int]:
    """The versions of a contact's events."""
    found = await query_rows(
        w.api,
        "SELECT version FROM ledger.events WHERE organisation = $1 AND stream_id = $2::text::uuid"
        " ORDER BY 1",
        stream,
    )
    return [row["version"] for row in found]


async def test_an_account_makes_its_owner_financial(fresh: OrganisationClient) -> None:
    operator, contact = Operator(fresh.api), await fresh.new_contact()
    before = await fresh.show_contact(contact)
    assert before["life_cycle_state"] == "MARKETING"
    account = {"number": "1", "life_cycle_state": "TERMINATED", "account_owner_id": contact.lower()}
    await operator.put(AR, "A", **account)
    assert await state(fresh, contact) == "FINANCIAL"
    assert (await fresh.show_contact(contact))["log_information"] == before["log_information"]
    async with untouched(fresh.api):
        assert await operator.put(AR, "A", **account) == "UNCHANGED"
    await operator.put(AR, "A", **account | {"life_cycle_state": "ACTIVE"})
    assert await state(fresh, contact) == "FINANCIAL"
    await operator.put(AR, "A", **account, retired=True)
    assert await state(fresh, contact) == "MARKETING"
    await operator.put(AR, "A", **account)
    assert await state(fresh, contact) == "FINANCIAL"
    await operator.put(AR, "A", number="1")
    assert await state(fresh, contact) == "MARKETING"


async def test_an_account_that_is_reassigned(fresh: OrganisationClient) -> None:
    operator, one, two = Operator(fresh.api), await fresh.new_contact(), await fresh.new_contact()
    await operator.put(AR, "A", account_owner_id=one)
    await operator.put(AR, "A", account_owner_id=two)
    assert (await state(fresh, one), await state(fresh, two)) == ("MARKETING", "FINANCIAL")
    await operator.put(AR, "A", account_owner_id=one, retired=True)
    assert (await state(fresh, one), await state(fresh, two)) == ("MARKETING", "MARKETING")
    await operator.put(AR, "A", account_owner_id=one)
    assert (await state(fresh, one), await state(fresh, two)) == ("FINANCIAL", "MARKETING")


async def test_the_last_of_several_accounts_decides(fresh: OrganisationClient) -> None:
    operator, contact = Operator(fresh.api), await fresh.new_contact()
    for id_ in ("A", "B"):
        await operator.put(AR, id_, account_owner_id=contact)
    await operator.put(AR, "A", account_owner_id=contact, retired=True)
    assert await state(fresh, contact) == "FINANCIAL"
    await operator.put(AR, "B")
    assert await state(fresh, contact) == "MARKETING"


async def test_a_retired_account_never_counts(fresh: OrganisationClient) -> None:
    operator, contact = Operator(fresh.api), await fresh.new_contact()
    assert await operator.put(AR, "A", account_owner_id=contact, retired=True) == "CREATED"
    assert await state(fresh, contact) == "MARKETING"


async def test_a_refused_account_leaves_its_owner_alone(fresh: OrganisationClient) -> None:
    operator, contact = Operator(fresh.api), await fresh.new_contact()
    await operator.put(AR, "A", number="1")
    async with untouched(fresh.api):
        refused = await operator.refused(AR, "B", number="1", account_owner_id=contact)
    assert refused == ("DUPLICATEENTITY", "number")
    assert await state(fresh, contact) == "MARKETING"


async def test_no_parameter_changes_the_state(fresh: OrganisationClient) -> None:
    contact = await fresh.new_contact(life_cycle_state="FINANCIAL")
    await fresh.update_contact(contact, life_cycle_state="FINANCIAL", title="Mr")
    assert await state(fresh, contact) == "MARKETING"


async def test_accounts_in_parallel(fresh: OrganisationClient) -> None:
    operator, owners = Operator(fresh.api), [await fresh.new_contact() for _ in range(3)]
    accounts = [f"A{n}" for n in range(12)]

    async def put(account: str, owner: str | None, *, retired: bool = False) -> str:
        return await operator.put(AR, account, account_owner_id=owner, retired=retired)

    for turn in range(3):
        await asyncio.gather(
            *(put(a, owners[(n + turn) % 3]) for n, a in enumerate(accounts)),
            *(fresh.update_contact(owner, notes=f"turn {turn}") for owner in owners),
        )
        for owner in owners:
            assert await state(fresh, owner) == "FINANCIAL"
    await asyncio.gather(*(put(a, owners[0]) for a in accounts))
    assert [await state(fresh, o) for o in owners] == ["FINANCIAL", "MARKETING", "MARKETING"]
    await asyncio.gather(*(put(a, owners[0], retired=a != "A7") for a in accounts))
    assert await state(fresh, owners[0]) == "FINANCIAL"
    await put("A7", None)
    assert await state(fresh, owners[0]) == "MARKETING"
    for owner in owners:
        found = await versions(fresh, owner)
        assert found == list(range(1, len(found) + 1))
        assert len((await fresh.show_contact(owner))["notes"].split("\n")) == 3


async def test_many_accounts_of_one_contact_come_and_go_together(fresh: OrganisationClient) -> None:
    operator, contact = Operator(fresh.api), await fresh.new_contact()
    for owner, result in ((contact, "CREATED"), (None, "UPDATED")):
        results = await asyncio.gather(
            *(operator.put(AR, f"A{n}", account_owner_id=owner) for n in range(40))
        )
        assert set(results) == {result}
        assert await state(fresh, contact) == ("FINANCIAL" if owner else "MARKETING")
    assert await versions(fresh, contact) == list(range(1, 82))


async def test_one_account_that_many_want(fresh: OrganisationClient) -> None:
    operator, owners = Operator(fresh.api), [await fresh.new_contact() for _ in range(10)]
    results = await asyncio.gather(
        *(operator.put(AR, "A", account_owner_id=owner) for owner in owners)
    )
    assert sorted(results) == ["CREATED", *["UPDATED"] * 9]
    states = {owner: await state(fresh, owner) for owner in owners}
    owner = (await operator.get(f"{AR}/A"))["account_owner_id"]
    assert [contact for contact, found in states.items() if found == "FINANCIAL"] == [owner]


async def test_parallel_upserts_of_one_record(fresh: OrganisationClient) -> None:
    operator = Operator(fresh.api)
    results = await asyncio.gather(
        *(operator.put("industry", "X", name=f"Name {n}") for n in range(20))
    )
    assert sorted(results) == ["CREATED", *["UPDATED"] * 19]
    found = await query_rows(
        fresh.api,
        "SELECT version, payload ->> 'fields' AS fields FROM ledger.events WHERE organisation = $1"
        " AND stream_id = (SELECT stream_id FROM ledger.events WHERE organisation = $1"
        " AND payload ->> 'record_id' = 'X') ORDER BY version",
    )
    assert [row["version"] for row in found] == list(range(1, 21))
    kept = (await operator.get("industry/X"))["name"]
    assert json.loads(found[-1]["fields"])["name"] == kept
    same = await asyncio.gather(*(operator.put("industry", "Y", name="Y") for _ in range(10)))
    assert sorted(same) == ["CREATED", *["UNCHANGED"] * 9]


async def test_parallel_records_of_one_unique_name(fresh: OrganisationClient) -> None:
    operator = Operator(fresh.api)

    async def put(n: int) -> Any:
        data = json.dumps({"name": "ATLANTIS"}).encode()
        return await operator.send("PUT", f"country/C{n}", data=data)

    answers = await asyncio.gather(*(put(n) for n in range(12)))
    lost = [refusal(answer) for status, answer in answers if status == 400]
    assert lost == [("DUPLICATEENTITY", "name")] * 11


async def test_parallel_organisations_of_one_name(fresh: OrganisationClient) -> None:
    name, headers = f"ONE {unknown_id()}", {"Authorization": f"Bearer {OPERATOR_KEY}"}

    async def put(n: int) -> tuple[int, Any]:
        path, data = f"{REFERENCE}organisation/{name[4:]}{n}", json.dumps({"name": name}).encode()
        status, answer, _ = await fresh.api.service.send("PUT", path, data=data, headers=headers)
        return status, answer

    answers = await asyncio.gather(*(put(n) for n in range(12)))
    lost = [refusal(answer) for status, answer in answers if status != 200]
    assert lost == [("DUPLICATEENTITY", "name")] * 11
    assert {status for status, _ in answers} == {200, 400}


async def test_parallel_upserts_of_one_key(fresh: OrganisationClient) -> None:
    operator, key = Operator(fresh.api), uuid4().hex
    fields = {"classification": "SYSTEMIC_KEY", "user_id": "1", "key": key}
    results = await asyncio.gather(
        *(operator.put("web_api_key", "K", **fields, number=str(n)) for n in range(6))
    )
    assert sorted(results) == ["CREATED", *["UPDATED"] * 5]
    held = await query_rows(fresh.api, "SELECT 1 FROM ledger.global_claims WHERE organisation = $1")
    assert len(held) == 2


async def test_lines_that_depend_on_each_other(fresh: OrganisationClient) -> None:
    operator, contact = Operator(fresh.api), await fresh.new_contact()
    key, user = uuid4().hex, {"classification": "SYSTEMIC_KEY", "user_id": "1"}
    lines = [
        *({"kind": "industry", "id": "L", "name": f"Name {n}"} for n in range(5)),
        *(
            {"kind": AR, "id": f"A{n}", "number": str(n), "account_owner_id": contact}
            for n in range(30)
        ),
        {"kind": AR, "id": "A0", "number": "other"},
        {"kind": AR, "id": "A99", "number": "0"},
        {"kind": "communication_category", "id": "P", "name": "Parent"},
        {"kind": "communication_category", "id": "Q", "name": "Child", "parent_id": "P"},
        *({"kind": "web_api_key", "id": f"K{n}", **user, "key": key} for n in range(5)),
    ]
    report = await operator.lines("industry", *lines)
    assert [refusal["line"] for refusal in report.pop("refused")] == [41, 42, 43, 44]
    assert report == {"created": 35, "updated": 5, "unchanged": 0}
    assert (await operator.get("industry/L"))["name"] == "Name 4"
    assert await state(fresh, contact) == "FINANCIAL"
