"""Life cycles: each aggregate's table of moves, and that it is what its events allow.

`CONTRACT` is written from the contract (communications.md 8.1 and 9.2, contact_information.md 9,
access_tokens.md 2, authentication.md 2, reference_entities.md 1, service_requests.md 3): states,
event, next state; `-` is before the first event, `*` any state, or the same one. Every other move is
refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import services.registry  # noqa: F401 (declares every aggregate)
from domain.aggregate import AGGREGATES, EVENTS, Aggregate, DomainEvent
from domain.errors import InvalidLifeCycleState
from tests.domain.samples import beginnings
from tests.domain.scenario import BY, ID, given, happened, members

CONTRACT = {
    "communication": """
        - drafted DRAFT
        - recorded COMPLETED
        DRAFT amended DRAFT
        DRAFT completed COMPLETED
        COMPLETED marked_viewed COMPLETED
    """,
    "queue_entry": """
        - queued PENDING
        PENDING processed COMPLETED
        PENDING rejected REJECTED
        PENDING removed COMPLETED_AND_REMOVED
        REJECTED processed COMPLETED
        REJECTED rejected REJECTED
        COMPLETED processed COMPLETED
        COMPLETED removed COMPLETED_AND_REMOVED
    """,
    "contact_information": """
        - registered MARKETING
        * amended *
        * entry_added *
        * entry_changed *
        * entry_removed *
        * marketing_decided *
        * profile_photo_added *
        * profile_photo_removed *
        MARKETING account_gained FINANCIAL
        FINANCIAL account_gained FINANCIAL
        FINANCIAL account_lost FINANCIAL
        FINANCIAL last_account_lost MARKETING
        MARKETING forgotten MARKETING
    """,
    "record": """
        - registered CURRENT
        CURRENT replaced CURRENT
        RETIRED replaced RETIRED
        CURRENT retired RETIRED
        RETIRED reinstated CURRENT
        * guesses_forgiven *
        * sessions_ended *
    """,
    "access_token": """
        - issued EFFECTIVE
        - issued_unverified PENDING_VERIFICATION
        * credentials_changed *
        * amended *
        PENDING_VERIFICATION verified EFFECTIVE
        EFFECTIVE pass_code_reset EFFECTIVE
        PENDING_VERIFICATION verification_code_reset PENDING_VERIFICATION
        EFFECTIVE one_time_password_generated EFFECTIVE
        EFFECTIVE one_time_password_used EFFECTIVE
        EFFECTIVE disabled NOT_EFFECTIVE
        NOT_EFFECTIVE enabled EFFECTIVE
        * related_entity_changed *
        EFFECTIVE last_related_entity_retired NOT_EFFECTIVE
        * guesses_forgiven *
        * forgotten NOT_EFFECTIVE
    """,
    "access": """
        - read DONE
    """,
    "session": """
        - issued OPEN
        - issued_to_consumer OPEN
        OPEN released RELEASED
    """,
    "service_request": """
        - opened PENDING
        PENDING responded RESPONDED
        PENDING cancelled CANCELLED
        RESPONDED response_replaced RESPONDED
        TEMPORARY_RESOLVED response_replaced TEMPORARY_RESOLVED
        FINAL_RESOLVED response_replaced FINAL_RESOLVED
        RESPONDED response_accepted RESPONDED
        RESPONDED temporarily_resolved TEMPORARY_RESOLVED
        TEMPORARY_RESOLVED temporary_resolution_replaced TEMPORARY_RESOLVED
        FINAL_RESOLVED temporary_resolution_replaced FINAL_RESOLVED
        FINAL_RESOLVED temporary_resolution_withdrawn FINAL_RESOLVED
        TEMPORARY_RESOLVED temporary_resolution_accepted TEMPORARY_RESOLVED
        RESPONDED finally_resolved FINAL_RESOLVED
        TEMPORARY_RESOLVED finally_resolved FINAL_RESOLVED
        FINAL_RESOLVED final_resolution_replaced FINAL_RESOLVED
        FINAL_RESOLVED final_resolution_accepted FINAL_RESOLVED
        FINAL_RESOLVED completed COMPLETED
        PENDING,RESPONDED,TEMPORARY_RESOLVED,FINAL_RESOLVED amended *
        PENDING,RESPONDED,TEMPORARY_RESOLVED,FINAL_RESOLVED item_added *
        PENDING,RESPONDED,TEMPORARY_RESOLVED,FINAL_RESOLVED item_changed *
        PENDING,RESPONDED,TEMPORARY_RESOLVED,FINAL_RESOLVED item_removed *
        PENDING,RESPONDED,TEMPORARY_RESOLVED,FINAL_RESOLVED status_changed *
    """,
}
Move = tuple[str, str, str]
KNOWN = [topic for topic in CONTRACT if topic in AGGREGATES]


def events_of(aggregate: str) -> dict[str, type[DomainEvent]]:
    return {t.partition(".")[2]: f for t, f in EVENTS.items() if t.partition(".")[0] == aggregate}


def states_of(aggregate: str) -> set[str]:
    events = events_of(aggregate).values()
    return {state for event in events for state in (*event.FROM, event.TO)} - {""}


def written(aggregate: str) -> set[Move]:
    """The moves of the contract."""
    moves: set[Move] = set()
    for line in CONTRACT[aggregate].strip().splitlines():
        state, event, after = line.split()
        starts = states_of(aggregate) if state == "*" else set(state.split(","))
        moves |= {(start, event, start if after == "*" else after) for start in starts}
    return moves


def declared(aggregate: str) -> Iterator[Move]:
    """The moves that the events allow, by their ``FROM`` and ``TO``."""
    first = beginnings(AGGREGATES[aggregate])
    for name, event in events_of(aggregate).items():
        starts = ("-",) if event in first else event.FROM or tuple(states_of(aggregate))
        for start in starts:
            yield start, name, event.TO or start


def attempts() -> list[tuple[str, str, str]]:
    """Every aggregate in every state, with every event that is not a first one."""
    return [
        (aggregate, state, name)
        for aggregate in AGGREGATES
        for state in sorted(states_of(aggregate))
        for name, event in events_of(aggregate).items()
        if event not in beginnings(AGGREGATES[aggregate])
    ]


@pytest.mark.parametrize("aggregate", KNOWN)
def test_the_events_allow_what_the_contract_says(aggregate: str) -> None:
    assert set(declared(aggregate)) == written(aggregate)


def samples(event: type[DomainEvent]) -> dict[str, object]:
    """A payload that suits the written types; what it says does not matter here."""
    empty: dict[str, object] = {"str": "x", "int": 1, "bool": True, "JsonObject": {}}
    kinds: dict[str, object] = {"list": [], "dict": {}}
    return {
        name: empty.get(kind, kinds.get(kind.partition("[")[0]))
        for name, kind in members(event).items()
    }


@pytest.fixture
def inert(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events move their aggregate and change nothing else, so that any payload will do."""
    for event in EVENTS.values():
        monkeypatch.setattr(event, "apply_to", lambda self, aggregate: None)


def in_state(aggregate: str, state: str) -> Aggregate:
    """An aggregate that has come to ``state``."""
    first = beginnings(AGGREGATES[aggregate])[0]
    found: Aggregate = given(happened(first, **samples(first))).aggregate
    found.state = state
    return found


@pytest.mark.usefixtures("inert")
@pytest.mark.parametrize(("aggregate", "state", "name"), attempts())
def test_every_event_in_every_state(aggregate: str, state: str, name: str) -> None:
    event = events_of(aggregate)[name]
    moved = in_state(aggregate, state)
    if event.FROM and state not in event.FROM:
        with pytest.raises(InvalidLifeCycleState):
            moved.raise_event(event, BY, **samples(event))
        assert (moved.state, moved.version, list(moved.pending_events)) == (state, 1, [])
    else:
        moved.raise_event(event, BY, **samples(event))
        assert (moved.state, moved.version) == (event.TO or state, 2)


@pytest.mark.usefixtures("inert")
@pytest.mark.parametrize(("aggregate", "state", "name"), attempts())
def test_history_is_never_checked(aggregate: str, state: str, name: str) -> None:
    event = events_of(aggregate)[name]
    moved = in_state(aggregate, state)
    past = happened(event, **samples(event)).at(version=2)
    past.mutate(moved)
    assert moved.state == (event.TO or state)


@pytest.mark.parametrize("topic", EVENTS)
def test_a_first_event_says_where_it_leads(topic: str) -> None:
    event = EVENTS[topic]
    aggregate = AGGREGATES[topic.partition(".")[0]]
    if event in beginnings(aggregate):
        assert event.TO
        assert not event.FROM
        new = aggregate.create(event, BY, id=ID, **samples(event))  # type: ignore[arg-type]
        assert (new.state, new.created, new.stamp, new.version) == (event.TO, BY, BY, 1)
