"""What each command does to its aggregate, and what it is refused for."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from domain.communication import Communication
from domain.contact_information import ContactInformation
from domain.errors import (
    DuplicateEntity,
    EntityNotFound,
    EntityNotUnique,
    InvalidLifeCycleState,
    InvalidParameterValue,
    MandatoryParameter,
    Refusal,
)
from domain.fields import JsonObject
from domain.identifiers import Identifier
from domain.queue_entry import QueueEntry
from domain.reference.records import Record
from domain.session import Session
from domain.unrestricted_parameters import (
    UnrestrictedParameters,
    apply_parameter_changes,
    parameter_changes,
)
from tests.domain.scenario import ANOTHER, BY, ID, Happened, given, happened

OWN = ID.hex.upper()
LETTER: JsonObject = {
    "number": "CM000001",
    "code": "1",
    "contact_information": OWN,
    "parameters": [],
}
DETAILS: JsonObject = {"subject": "Hi", "referring_to": {"lead": "L1", "job": "J1"}}
DRAFT = happened(Communication.Drafted, details=DETAILS, **LETTER)
FINAL = happened(Communication.Completed)
WAITING: JsonObject = {
    "number": "1",
    "communication": "C",
    "contact_information": OWN,
    "media": "SMS",
}
QUEUED = happened(QueueEntry.Queued, external_system=None, **WAITING)
FAILED: JsonObject = {"error_code": "E1", "error_description": "no answer"}
HOME: JsonObject = {"id": "A1", "type": "HOME", "state": "Active", "street_name": "Main"}
KNOWN: JsonObject = {"number": "CI000001", "type": "PERSON", "details": {"last_name": "Doe"}}
CONTACT = happened(ContactInformation.Registered, sets={"address_set": [HOME]}, **KNOWN)
LEAD = happened(Record.Registered, kind="lead", record_id="L1", fields={"number": "1"}, secrets={})


def amended(changes: JsonObject, parameters: Any = ()) -> Happened:
    return happened(
        Communication.Amended,
        changes=changes,
        parameters=list(parameters),
        removed_parameters=[],
    )


class TestCommunication:
    def test_only_what_differs_is_said(self) -> None:
        said = {"subject": "Hello", "notes": None, "referring_to": {"lead": "L1", "job": None}}
        changes = {"subject": "Hello", "referring_to": {"job": None}}
        now = (
            given(DRAFT).when(lambda c: c.amend(said, [], BY)).then(amended(changes), state="DRAFT")
        )
        assert now.details == {"subject": "Hello", "referring_to": {"lead": "L1", "job": None}}

    def test_nothing_new_is_nothing(self) -> None:
        given(DRAFT).when(lambda c: c.amend(dict(DETAILS), [], BY)).then()

    def test_new_parameters_alone(self) -> None:
        one = [{"id": "1", "key": "unrestricted_string.a"}]
        given(DRAFT).when(lambda c: c.amend({}, one, BY)).then(amended({}, one))

    def test_a_draft_is_completed_once(self) -> None:
        given(DRAFT).when(lambda c: c.complete(BY)).then(FINAL, state="COMPLETED")
        given(DRAFT, FINAL).when(lambda c: c.complete(BY)).refused(InvalidLifeCycleState)

    def test_what_is_final_stays(self) -> None:
        for said in ({"subject": "x"}, {"subject": "Hi", "to": "y"}):
            amend = partial(Communication.amend, details=said, parameters=[], by=BY)
            given(DRAFT, FINAL).when(amend).refused(InvalidLifeCycleState)

    def test_viewing_counts_the_last_time(self) -> None:
        first, last = "2020-01-01T00:00:00", "2019-01-01T00:00:00"
        seen = happened(Communication.MarkedViewed, viewed_on=first)
        given(DRAFT, FINAL).when(lambda c: c.mark_viewed(first, BY)).then(seen)
        given(DRAFT, FINAL, seen).when(lambda c: c.mark_viewed(first, BY)).then()
        now = given(DRAFT, FINAL, seen).when(lambda c: c.mark_viewed(last, BY))
        assert now.then(happened(Communication.MarkedViewed, viewed_on=last)).viewed_on == last
        given(DRAFT).when(lambda c: c.mark_viewed(first, BY)).refused(InvalidLifeCycleState)

    def test_the_first_and_the_last_who_changed_it_are_known(self) -> None:
        now = given(DRAFT).when(lambda c: c.complete(ANOTHER)).then(FINAL)
        assert (now.created, now.stamp) == (BY, ANOTHER)


def parameter(id_: str, name: str, type_: str = "STRING", value: Any = "x") -> JsonObject:
    key = f"unrestricted_{type_.lower()}.{name}"
    return {"id": id_, "key": key, "name": name, "type": type_, f"{type_.lower()}_value": value}


A, B, A_TOO = parameter("1", "a"), parameter("2", "b"), parameter("3", "a", "INTEGER", 7)


def named(field: str, value: str, action: str = "UPDATE", **said: Any) -> JsonObject:
    identifier = Identifier("unrestricted_parameter", field, value, "at.identifier")
    return {"action": action, "identifier": identifier, **said}


def added(name: str, value: str = "x") -> JsonObject:
    return {"action": "ADD", "type": "STRING", "name": name, "string_value": value}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (added("c"), [A, B, A_TOO, parameter("9", "c")]),
        (added("a"), DuplicateEntity),
        (named("id", "2", "REMOVE"), [A, A_TOO]),
        (named("name", "b", "REMOVE"), [A, A_TOO]),
        (named("name", "a", "REMOVE"), EntityNotUnique),
        (named("key", "unrestricted_string.a", "REMOVE"), [B, A_TOO]),
        (named("key", "#unrestricted_string.a", "REMOVE"), [B, A_TOO]),
        (named("key", "unrestricted_date.a", "REMOVE"), EntityNotFound),
        (named("id", "2"), [A, B, A_TOO]),
        (named("id", "2", string_value="y"), [A, parameter("2", "b", value="y"), A_TOO]),
        (named("id", "2", name="c"), [A, parameter("2", "c"), A_TOO]),
        (named("id", "2", name="a"), DuplicateEntity),
        (named("id", "2", type="INTEGER"), MandatoryParameter),
        (
            named("id", "2", type="INTEGER", integer_value=1),
            [A, parameter("2", "b", "INTEGER", 1), A_TOO],
        ),
        (named("id", "1", type="INTEGER", integer_value=1), DuplicateEntity),
        (named("id", "2", integer_value=1), InvalidParameterValue),
        (named("id", "2", string_value=None), MandatoryParameter),
        (named("id", "8"), EntityNotFound),
    ],
)
def test_unrestricted_parameters(item: JsonObject, expected: Any) -> None:
    """communications.md, section 7."""
    before = [dict(one) for one in (A, B, A_TOO)]
    try:
        parameters = UnrestrictedParameters([A, B, A_TOO])
        parameters.apply(item, "9", "at")
        found: Any = parameters.to_list()
    except Refusal as error:
        found = type(error)
    assert found == expected
    assert before == [A, B, A_TOO]
    if not isinstance(found, type):
        assert apply_parameter_changes(before, *parameter_changes(before, found)) == found


def test_an_event_holds_what_differs_of_a_parameter() -> None:
    """communications.md, section 7."""
    long = parameter("2", "b", value="x" * 1000)
    renamed = long | {"name": "c", "key": "unrestricted_string.c"}
    changed, removed = parameter_changes([A, long, A_TOO], [A, renamed])
    assert changed == [{"id": "2", "name": "c", "key": "unrestricted_string.c"}]
    assert removed == [A_TOO["id"]]
    turned = parameter("2", "b", "INTEGER", 1)
    assert parameter_changes([B], [turned])[0][0]["string_value"] is None
    assert apply_parameter_changes([B], *parameter_changes([B], [turned])) == [turned]
    assert parameter_changes([A, B], [A, B]) == ([], [])


def test_names_that_look_alike_are_one() -> None:
    """common.md, section 7: canonically equal texts are equal."""
    parameters = UnrestrictedParameters([])
    parameters.apply(added("Jos\u00e9"), "1", "at")
    with pytest.raises(DuplicateEntity):
        parameters.apply(added("Jose\u0301"), "2", "at")
    parameters.apply(named("name", "Jose\u0301", string_value="y"), "3", "at")
    [one] = parameters.to_list()
    assert (one["name"], one["string_value"]) == ("Jos\u00e9", "y")


class TestQueueEntry:
    def test_a_rejected_entry_keeps_its_error_when_it_is_processed(self) -> None:
        rejected = happened(QueueEntry.Rejected, **FAILED)
        done = given(QUEUED, rejected).when(lambda e: e.process(ANOTHER))
        now = done.then(happened(QueueEntry.Processed), state="COMPLETED")
        assert (now.error_code, now.error_description) == ("E1", "no answer")
        assert now.stamp == ANOTHER

    def test_the_last_error_counts(self) -> None:
        rejected = happened(QueueEntry.Rejected, **FAILED)
        again = happened(QueueEntry.Rejected, error_code="E2", error_description="gone")
        now = given(QUEUED, rejected).when(lambda e: e.reject("E2", "gone", BY)).then(again)
        assert (now.error_code, now.error_description) == ("E2", "gone")

    def test_processing_again_only_shows_who_did_it_last(self) -> None:
        done = happened(QueueEntry.Processed)
        now = given(QUEUED, done).when(lambda e: e.process(ANOTHER)).then(done, state="COMPLETED")
        assert now.stamp == ANOTHER

    def test_what_is_removed_is_over(self) -> None:
        for command in (QueueEntry.process, QueueEntry.remove):
            over = given(QUEUED, happened(QueueEntry.Removed))
            over.when(partial(command, by=BY)).refused(InvalidLifeCycleState)


class TestContact:
    def test_a_second_active_entry_of_a_type(self) -> None:
        second = HOME | {"id": "A2"}
        given(CONTACT).when(lambda c: c.add_entry("address_set", second, BY, "at")).refused(
            DuplicateEntity, "at.type"
        )

    def test_another_type_is_added_at_the_end(self) -> None:
        office = HOME | {"id": "A2", "type": "BUSINESS"}
        event = happened(ContactInformation.EntryAdded, set_name="address_set", entry=office)
        now = (
            given(CONTACT).when(lambda c: c.add_entry("address_set", office, BY, "at")).then(event)
        )
        assert now.sets["address_set"] == [HOME, office]

    def test_a_relation_to_itself(self) -> None:
        relation = {"id": "R", "type": "FRIEND", "contact_information": OWN}
        given(CONTACT).when(lambda c: c.add_entry("relation_set", relation, BY, "at")).refused(
            InvalidParameterValue, "at.contact_information_identifier"
        )

    def test_an_entry_changes_where_it_differs(self) -> None:
        event = happened(
            ContactInformation.EntryChanged,
            set_name="address_set",
            entry_id="A1",
            changes={"area": "Old Town"},
        )
        said = {"street_name": "Main", "area": "Old Town", "floor": None}
        changed = given(CONTACT).when(lambda c: c.change_entry("address_set", HOME, said, BY, "at"))
        assert changed.then(event).sets["address_set"] == [HOME | {"area": "Old Town"}]

    def test_an_unknown_entry(self) -> None:
        identifier = Identifier("address", "type", "POBOX", "at")
        given(CONTACT).when(lambda c: c.entry("address_set", identifier)).refused(
            EntityNotFound, "at"
        )

    def test_taking_back_an_answer_that_was_never_given_is_nothing(self) -> None:
        given(CONTACT).when(lambda c: c.decide_marketing("direct", None, BY)).then()

    def test_the_same_answer_again_is_stamped_again(self) -> None:
        yes = happened(ContactInformation.MarketingDecided, material="direct", send=True)
        now = given(CONTACT, yes).when(lambda c: c.decide_marketing("direct", True, ANOTHER))
        assert now.then(yes).marketing["direct"]["user"] == ANOTHER.user

    def test_accounts_make_it_financial_and_the_last_one_lost_ends_that(self) -> None:
        gained = happened(ContactInformation.AccountGained, accounts_receivable="a")
        second = happened(ContactInformation.AccountGained, accounts_receivable="b")
        one = given(CONTACT).when(lambda c: c.gain_account("a", ANOTHER))
        assert one.then(gained, state="FINANCIAL").stamp == BY
        given(CONTACT, gained).when(lambda c: c.gain_account("a", BY)).then()
        lost = happened(ContactInformation.AccountLost, accounts_receivable="a")
        given(CONTACT, gained, second).when(lambda c: c.lose_account("a", BY)).then(
            lost, state="FINANCIAL"
        )
        last = happened(ContactInformation.LastAccountLost, accounts_receivable="a")
        given(CONTACT, gained).when(lambda c: c.lose_account("a", BY)).then(last, state="MARKETING")
        given(CONTACT).when(lambda c: c.lose_account("a", BY)).then()


class TestRecord:
    def test_what_is_already_so_happens_not(self) -> None:
        given(LEAD).when(lambda r: r.replace({"number": "1"}, {}, BY, retired=False)).then()

    def test_changed_and_retired_at_once(self) -> None:
        replaced = happened(Record.Replaced, fields={"number": "2"}, secrets={})
        given(LEAD).when(lambda r: r.replace({"number": "2"}, {}, BY, retired=True)).then(
            replaced, happened(Record.Retired), state="RETIRED"
        )

    def test_reinstated(self) -> None:
        retired = given(LEAD, happened(Record.Retired))
        retired.when(lambda r: r.replace({"number": "1"}, {}, BY, retired=False)).then(
            happened(Record.Reinstated), state="CURRENT"
        )


class TestSessionEpoch:
    """The epoch passes whenever sessions must end, and never comes back."""

    def epoch(self, kind: str, *events: Happened, **fields: Any) -> int:
        secrets = {"password": "k"} if kind == "user" else {}
        first = happened(
            Record.Registered, kind=kind, record_id="X", fields=fields, secrets=secrets
        )
        return int(given(first, *events).aggregate.session_epoch)

    def test_of_users(self) -> None:
        renamed = happened(Record.Replaced, fields={"username": "b"}, secrets={})
        secret = happened(Record.Replaced, fields={"username": "a"}, secrets={"password": "l"})
        assert self.epoch("user", username="a") == 0
        assert self.epoch("user", renamed, username="a") == 0
        assert self.epoch("user", secret, username="a") == 1
        assert self.epoch("user", happened(Record.SessionsEnded), secret, username="a") == 2
        retired, back = happened(Record.Retired), happened(Record.Reinstated)
        assert self.epoch("user", retired, back, username="a") == 1
        assert self.epoch("user", retired, back, retired, username="a") == 2

    @pytest.mark.parametrize(
        ("kind", "owner"),
        [
            ("accounts_receivable", "account_owner"),
            ("rewards_participant", "accounts_receivable"),
        ],
    )
    def test_of_accounts_and_participants(self, kind: str, owner: str) -> None:
        def replaced(to: str, name: str) -> Happened:
            return happened(Record.Replaced, fields={owner: to, "name": name}, secrets={})

        begun = {owner: "A", "name": "n"}
        assert self.epoch(kind, replaced("A", "m"), **begun) == 0
        assert self.epoch(kind, replaced("B", "n"), replaced("A", "n"), **begun) == 2
        assert self.epoch(kind, happened(Record.Retired), **begun) == 1


def test_a_session_is_released_once() -> None:
    issued = happened(
        Session.Issued, session_user="1", session_unit="U", expires_at=7200, epochs={"user/1": 0}
    )
    released = happened(Session.Released)
    given(issued).when(lambda s: s.release(BY)).then(released, state="RELEASED")
    given(issued, released).when(lambda s: s.release(BY)).refused(InvalidLifeCycleState)
