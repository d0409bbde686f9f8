"""Whatever is done to an aggregate, its stored events make it again: same state, same documents.

Each machine does legal and illegal things in any order. After every step the events go through the
ledger's mapper and back, and the aggregate that they make is compared with the one that was used.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from domain.access_token import ALIVE, RELATIONS, RETIRED, TERMINATED, AccessToken
from domain.access_token import UDF as TOKEN_UDF
from domain.aggregate import Aggregate, Attribution
from domain.communication import (
    CATEGORY,
    DIRECTION,
    EXTERNAL_SYSTEM,
    MEDIA,
    OWNERSHIP,
    REFERENCES,
    TEXTS,
    UDF,
    Communication,
)
from domain.contact_fields import COMPANY_NAME, PASSIVE, PERSON_NAME, PROFILES, SETS
from domain.contact_fields import UDF as CONTACT_UDF
from domain.contact_information import ContactInformation
from domain.errors import Refusal
from domain.fields import JsonObject
from domain.identifiers import Identifier
from domain.queue_entry import ERROR_CODE, ERROR_DESCRIPTION, QueueEntry
from domain.reference.catalogue import KINDS
from domain.reference.records import Record
from domain.service_request import ServiceRequest
from domain.service_request_answers import ANSWER_STATES, PROGRESSION, check_answers_fit_state
from domain.service_request_fields import ASSIGNED_TO, CALLER_TEXTS, COMPLETION, LEVELS
from domain.service_request_fields import SETS as REQUEST_SETS
from domain.service_request_fields import TEXTS as REQUEST_TEXTS
from domain.service_request_fields import UDF as REQUEST_UDF
from domain.unrestricted_parameters import UNRESTRICTED, UnrestrictedParameters
from infra.ledger.mapper import replay
from services.projections import project
from tests.domain.scenario import BY, ID
from tests.fixtures.strategies import (
    IDS,
    READING,
    ZONE,
    entries,
    field_values,
    stored_records,
    stored_values,
)
from tests.fixtures.strategies import TEXTS as SAID
from tests.properties.test_mapper import KEY, OTHER, stored

pytestmark = pytest.mark.slow

CONTACT = OTHER
SETTINGS: JsonObject = {"unique_person": ["name", "id_number"], "unique_company": ["name"]}
STEPS = settings(max_examples=20, stateful_step_count=12)


class Replay(RuleBasedStateMachine):
    """One aggregate with all that happened to it."""

    aggregate: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Any] = []
        self.steps = 0

    @property
    def by(self) -> Attribution:
        """Now it is later, and somebody else."""
        self.steps += 1
        return Attribution(BY.at + timedelta(seconds=self.steps), str(self.steps % 3), BY.unit)

    def attempt(self, command: Callable[[Any], object]) -> None:
        """Does something; what is refused leaves no trace."""
        before = project(self.aggregate, SETTINGS, ZONE)
        try:
            command(self.aggregate)
        except Refusal:
            assert list(self.aggregate.pending_events) == []
            assert project(self.aggregate, SETTINGS, ZONE) == before

    @invariant()
    @precondition(lambda self: self.aggregate is not None)
    def comes_back(self) -> None:
        """The events so far make an equal aggregate and the same bytes."""
        self.rows += [stored(event) for event in self.aggregate.collect_events()]
        versions = [row.version for row in self.rows]
        assert versions == list(range(1, self.aggregate.version + 1))
        again: Aggregate = replay(self.rows, {CONTACT: KEY, ID: KEY})
        assert again == self.aggregate
        shown = project(again, SETTINGS, ZONE)
        assert shown == project(self.aggregate, SETTINGS, ZONE)
        for document in filter(None, (shown.full, shown.compact, shown.photo)):
            orjson.loads(document)
        for row in shown.rows:
            orjson.dumps(row.columns)


ROWS = (DIRECTION, MEDIA, *TEXTS, CATEGORY, EXTERNAL_SYSTEM, *OWNERSHIP, *UDF, REFERENCES)
DATES = st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat())


class Communications(Replay):
    @initialize(details=stored_records(ROWS, unset=False), draft=st.integers(0, 3))
    def write(self, details: JsonObject, draft: int) -> None:
        first = Communication.Drafted if draft else Communication.Recorded
        said: JsonObject = {
            "number": "CM000001",
            "code": "1",
            "contact_information": CONTACT.hex.upper(),
        }
        self.aggregate = Communication.create(
            first, self.by, id=ID, details=details, parameters=[], **said
        )

    @rule(given=stored_records(ROWS))
    def amend(self, given: JsonObject) -> None:
        self.attempt(lambda c: c.amend(given, c.parameters, self.by))

    @rule(items=field_values(UNRESTRICTED, {}), new=IDS, removed=st.booleans())
    def set_parameters(self, items: Any, new: str, removed: bool) -> None:
        def amend(communication: Communication) -> None:
            parameters = UnrestrictedParameters(communication.parameters)
            for n, item in enumerate(UNRESTRICTED.read(items, "set", READING)):
                parameters.apply(item, f"{n}{new[1:]}", "set")
            if removed and parameters.to_list():
                first = parameters.to_list()[0]
                name = Identifier("unrestricted_parameter", "id", first["id"], "set")
                parameters.apply({"action": "REMOVE", "identifier": name}, new, "set")
            communication.amend({}, parameters.to_list(), self.by)

        self.attempt(amend)

    @rule()
    def complete(self) -> None:
        self.attempt(lambda c: c.complete(self.by))

    @rule(viewed_on=DATES)
    def mark_viewed(self, viewed_on: str) -> None:
        self.attempt(lambda c: c.mark_viewed(viewed_on, self.by))


class QueueEntries(Replay):
    @initialize(system=st.none() | IDS, media=stored_values(MEDIA))
    def queue(self, system: str | None, media: str) -> None:
        said = {"number": "1", "communication": "C1", "contact_information": CONTACT.hex.upper()}
        self.aggregate = QueueEntry.create(
            QueueEntry.Queued, self.by, id=ID, media=media, external_system=system, **said
        )

    @rule()
    def process(self) -> None:
        self.attempt(lambda entry: entry.process(self.by))

    @rule(code=stored_values(ERROR_CODE), description=stored_values(ERROR_DESCRIPTION))
    def reject(self, code: str, description: str) -> None:
        self.attempt(lambda entry: entry.reject(code, description, self.by))

    @rule()
    def remove(self) -> None:
        self.attempt(lambda entry: entry.remove(self.by))


REQUEST_ROWS = (*CALLER_TEXTS, *REQUEST_TEXTS, *LEVELS, *COMPLETION, *REQUEST_UDF, ASSIGNED_TO)
ANSWERED = st.fixed_dictionaries(
    {"category": IDS, "description": st.none() | SAID, "acceptance_required": st.booleans()}
)


class ServiceRequests(Replay):
    @initialize(details=stored_records(REQUEST_ROWS, unset=False))
    def open(self, details: JsonObject) -> None:
        said: JsonObject = {"number": "SR00000001", "type": "T", "accounts_receivable": "A"}
        said |= {"contact_information": CONTACT.hex.upper(), "status": "PENDING"}
        details = {"category": "C"} | details
        self.aggregate = ServiceRequest.create(
            ServiceRequest.Opened, self.by, id=ID, details=details, **said
        )

    @rule(given=stored_records(REQUEST_ROWS))
    def amend(self, given: JsonObject) -> None:
        self.attempt(lambda r: r.amend(given, self.by))

    @rule(
        to=st.sampled_from(PROGRESSION),
        again=st.booleans(),
        said=st.dictionaries(st.sampled_from(list(ANSWER_STATES)), st.none() | ANSWERED),
    )
    def proceed(self, to: str, again: bool, said: JsonObject) -> None:
        def go(request: ServiceRequest) -> None:
            check_answers_fit_state(to, request.answers, said)
            request.advance(to, f"{to}{again}", said, "2024-01-01T00:00:00", self.by)

        if self.aggregate.state in PROGRESSION[:-1]:
            self.attempt(go)

    @rule(name=st.sampled_from(list(ANSWER_STATES)), contact=IDS)
    def accept(self, name: str, contact: str) -> None:
        self.attempt(lambda r: r.accept(name, contact, "2024-01-01T00:00:00", self.by))

    @rule()
    def cancel(self) -> None:
        self.attempt(lambda r: r.cancel("CANCELLED", "R", self.by))

    @rule(name=st.sampled_from(list(REQUEST_SETS)), new=IDS, link=st.sampled_from("ab"), text=SAID)
    def change_sets(self, name: str, new: str, link: str, text: str) -> None:
        links = {"product": link, "service_request": link, "description": text}
        items = self.aggregate.sets.get(name, [])
        self.attempt(lambda r: r.add_item(name, {"id": new} | links, self.by, name))
        for item in items[:1]:
            self.attempt(lambda r, i=item: r.change_item(name, i, {"description": text}, self.by))
            self.attempt(lambda r, i=item: r.remove_item(name, i, self.by))


PERSON = (*PERSON_NAME, *PASSIVE, *CONTACT_UDF, PROFILES[0])
COMPANY = (COMPANY_NAME, *PASSIVE, *CONTACT_UDF, PROFILES[1])
ENTRIES = st.sampled_from(list(SETS)).flatmap(
    lambda name: st.tuples(st.just(name), entries(name), IDS)
)


class Contacts(Replay):
    @initialize(
        person=stored_records(PERSON, unset=False), company=st.none() | stored_records(COMPANY)
    )
    def register(self, person: JsonObject, company: JsonObject | None) -> None:
        type_ = "PERSON" if company is None else "COMPANY"
        details = person if company is None else company
        self.aggregate = ContactInformation.create(
            ContactInformation.Registered,
            self.by,
            id=ID,
            number="CI000001",
            type=type_,
            details={name: value for name, value in details.items() if value is not None},
            sets={},
        )

    @rule(person=stored_records(PERSON), company=stored_records(COMPANY))
    def amend(self, person: JsonObject, company: JsonObject) -> None:
        given = person if self.aggregate.type == "PERSON" else company
        self.attempt(lambda c: c.amend(given, self.by))

    @rule(item=ENTRIES)
    def add_entry(self, item: Any) -> None:
        name, entry, id_ = item
        self.attempt(lambda c: c.add_entry(name, entry | {"id": id_}, self.by, name))

    @rule(item=ENTRIES, removed=st.booleans())
    def change_or_remove_entry(self, item: Any, removed: bool) -> None:
        name, changes, _ = item
        for entry in self.aggregate.sets.get(name, ())[:1]:
            remove = partial(self.aggregate.remove_entry, name, entry)
            change = partial(self.aggregate.change_entry, name, entry, changes, path=name)
            self.attempt(lambda _, do=remove if removed else change: do(by=self.by))  # type: ignore[misc]

    @rule(material=st.sampled_from(["direct", "affiliate"]), send=st.none() | st.booleans())
    def decide_marketing(self, material: str, send: bool | None) -> None:
        self.attempt(lambda c: c.decide_marketing(material, send, self.by))

    @rule(account=st.sampled_from("ab"), gained=st.booleans())
    def own_accounts(self, account: str, gained: bool) -> None:
        self.attempt(lambda c: (c.gain_account if gained else c.lose_account)(account, self.by))
        owns = self.aggregate.accounts
        assert self.aggregate.state == ("FINANCIAL" if owns else "MARKETING")

    @rule(photo_id=IDS, file_name=st.text('ab\u00e9"\\', min_size=1), added=st.booleans())
    def change_photo(self, photo_id: str, file_name: str, added: bool) -> None:
        file: JsonObject = {"photo_id": photo_id, "file_name": file_name, "mime_type": "image/gif"}
        events = self.aggregate.ProfilePhotoAdded, self.aggregate.ProfilePhotoRemoved
        payload = file | {"size": 1, "digest": "d"} if added else {}
        self.attempt(lambda c: c.raise_event(events[not added], self.by, **payload))


def fields_of(kind: str) -> st.SearchStrategy[JsonObject]:
    """Fields of a record; those that no two records share together are always there."""
    together = dict.fromkeys(KINDS[kind].unique_together)
    return stored_records(KINDS[kind].fields).map(lambda fields: together | fields)


class Records(Replay):
    @initialize(kind=st.sampled_from(sorted(KINDS)), data=st.data())
    def register(self, kind: str, data: Any) -> None:
        fields = data.draw(fields_of(kind))
        said: JsonObject = {"kind": kind, "record_id": "R1", "secrets": {}}
        self.aggregate = Record.create(Record.Registered, self.by, id=ID, fields=fields, **said)

    @rule(data=st.data(), retired=st.booleans(), secrets=st.sampled_from([{}, {"password": "k"}]))
    def replace(self, data: Any, retired: bool, secrets: dict[str, str]) -> None:
        fields = data.draw(fields_of(self.aggregate.kind))
        self.attempt(lambda r: r.replace(fields, secrets, self.by, retired=retired))
        assert self.aggregate.is_retired is retired
        assert self.aggregate.fields == fields


KEYS = st.sampled_from(["K1", "K2", "K3"])
CODE = st.sampled_from(["a", " b ", "é"])
CODES = st.fixed_dictionaries(
    {}, optional={"authentication_code": CODE, "identifier": st.none() | CODE}
)
SECRETS = ("pass_code", "verification_code", "one_time_password")


class AccessTokens(Replay):
    @initialize(
        pending=st.booleans(),
        relations=st.dictionaries(st.sampled_from(RELATIONS), IDS),
        details=stored_records(TOKEN_UDF, unset=False),
    )
    def issue(self, pending: bool, relations: dict[str, str], details: JsonObject) -> None:
        first = AccessToken.IssuedUnverified if pending else AccessToken.Issued
        self.aggregate = AccessToken.create(
            first,
            self.by,
            id=ID,
            number="ACT0000000001",
            codes={"authentication_code": "a", "identifier": "b"},
            secrets={"pass_code": "K0"} | ({"verification_code": "K0"} if pending else {}),
            classification=None,
            relations=relations,
            details=details,
        )

    @rule(codes=CODES, pass_code=st.none() | st.just("") | KEYS, details=stored_records(TOKEN_UDF))
    def amend(self, codes: JsonObject, pass_code: str | None, details: JsonObject) -> None:
        self.attempt(lambda t: t.amend(codes, pass_code, details, self.by))

    @rule(key=KEYS, event=st.sampled_from(["Verified", "PassCodeReset", "VerificationCodeReset"]))
    def replace_a_secret(self, key: str, event: str) -> None:
        name = "verification_code" if event == "VerificationCodeReset" else "pass_code"
        self.attempt(lambda t: t.raise_event(getattr(t, event), self.by, **{name: key}))

    @rule(key=KEYS, used=st.booleans())
    def make_or_use_a_one_time_password(self, key: str, used: bool) -> None:
        event = AccessToken.OneTimePasswordUsed if used else AccessToken.OneTimePasswordGenerated
        said = {} if used else {"expires_at": self.by.at.isoformat()}
        self.attempt(lambda t: t.raise_event(event, self.by, one_time_password=key, **said))

    @rule(event=st.sampled_from(["Enabled", "GuessesForgiven"]), off=st.booleans())
    def switch(self, event: str, off: bool) -> None:
        self.attempt(
            lambda t: t.disable(self.by) if off else t.raise_event(getattr(t, event), self.by)
        )

    @rule(
        entity=st.sampled_from(RELATIONS),
        fate=st.sampled_from([ALIVE, TERMINATED, RETIRED]),
        loses=st.booleans(),
    )
    def follow(self, entity: str, fate: str, loses: bool) -> None:
        if entity in self.aggregate.relations:
            self.attempt(
                lambda t: t.track_related_entity(entity, fate, self.by, loses_effect=loses)
            )

    @invariant()
    @precondition(lambda self: self.aggregate is not None)
    def keeps_the_contract(self) -> None:
        """No document shows a secret; a password lives only while its token has effect."""
        token = self.aggregate
        assert set(token.secrets) <= set(SECRETS)
        assert (token.state == "PENDING_VERIFICATION") == ("verification_code" in token.secrets)
        assert token.state == "EFFECTIVE" or "one_time_password" not in token.secrets
        shown = project(token, SETTINGS, ZONE)
        for key in token.secrets.values():
            assert f'"{key}"'.encode() not in shown.full + (shown.compact or b"")


TestCommunications = Communications.TestCase
TestCommunications.settings = STEPS
TestQueueEntries = QueueEntries.TestCase
TestQueueEntries.settings = STEPS
TestContacts = Contacts.TestCase
TestContacts.settings = STEPS
TestServiceRequests = ServiceRequests.TestCase
TestServiceRequests.settings = STEPS
TestRecords = Records.TestCase
TestRecords.settings = STEPS
TestAccessTokens = AccessTokens.TestCase
TestAccessTokens.settings = STEPS
