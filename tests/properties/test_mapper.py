"""Events survive the ledger unchanged, hide what is personal, and are refused when they have drifted."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import services.registry  # noqa: F401 (declares every aggregate)
from domain.aggregate import AGGREGATES, EVENTS, Attribution, DomainEvent
from infra.encryption import KeyRing
from infra.ledger.mapper import StoredEvent, replay, to_event, to_payload
from tests.domain.samples import beginnings, payloads
from tests.domain.scenario import BY, ID, Happened, members

KEY, _ = KeyRing("service-key-of-the-tests-0123456789").new()
OTHER_KEY, _ = KeyRing("service-key-of-the-tests-0123456789").new()
MARKER = re.compile(rb"PERSONAL\d{9}")
OTHER = UUID(int=7)
WHO = st.builds(
    Attribution, st.just(BY.at), st.none() | st.text(max_size=9), st.none() | st.text(max_size=9)
)


def first_or_later(event: type[DomainEvent]) -> int:
    return 1 if event in beginnings(AGGREGATES[event.TOPIC.partition(".")[0]]) else 2


def stored(event: DomainEvent) -> StoredEvent:
    """The event as the ledger holds it."""
    who = {"at": event.timestamp.isoformat(), "user": event.user, "unit": event.unit}
    return StoredEvent(
        event.originator_id,
        event.originator_version,
        event.TOPIC,
        event.SCHEMA,
        event.originator_id,
        to_payload(event, KEY),
        json.dumps({name: value for name, value in who.items() if value is not None}).encode(),
    )


def changed(row: StoredEvent, **payload: Any) -> StoredEvent:
    """The row with other members in its payload; `...` takes one away."""
    whole = json.loads(row.payload) | payload
    kept = {name: value for name, value in whole.items() if value is not ...}
    return row._replace(payload=json.dumps(kept).encode())


@cache
def sample(topic: str) -> tuple[DomainEvent, StoredEvent]:
    """Some event of a topic, in memory and in the ledger, the same in every run."""
    event = EVENTS[topic]
    found: list[DomainEvent] = []

    @settings(max_examples=5)
    @given(payloads(event))
    def look(payload: Any) -> None:
        found.append(Happened(event, payload).at(first_or_later(event)))

    look()
    return found[-1], stored(found[-1])


@pytest.mark.parametrize("topic", EVENTS)
def test_every_event_comes_back(topic: str) -> None:
    event = EVENTS[topic]

    @given(payloads(event), WHO)
    def comes_back(payload: Any, by: Attribution) -> None:
        before = Happened(event, payload, by).at(first_or_later(event))
        after = to_event(stored(before), KEY)
        assert type(after) is event
        assert after == before
        assert to_event(stored(after), KEY) == before

    comes_back()


def said_of(payload: Any) -> set[bytes]:
    return set(MARKER.findall(repr(payload).encode()))


@pytest.mark.parametrize("topic", [topic for topic, event in EVENTS.items() if event.PERSONAL])
def test_nothing_personal_stands_in_clear(topic: str) -> None:
    event = EVENTS[topic]

    @given(payloads(event))
    def hidden(payload: Any) -> None:
        row = stored(Happened(event, payload).at(first_or_later(event)))
        assert not MARKER.search(row.payload)
        assert set(MARKER.findall(repr(to_event(row, KEY)).encode())) == said_of(payload)

    hidden()


@pytest.mark.parametrize("topic", EVENTS)
def test_a_payload_says_in_clear_what_is_not_personal(topic: str) -> None:
    event, row = sample(topic)
    said = json.loads(row.payload)
    for name in members(type(event)):
        keys = event.PERSONAL.get(name, frozenset())
        if not keys and keys is not None:
            assert said[name] == json.loads(json.dumps(getattr(event, name)))
        elif keys is None:
            assert name not in said


@pytest.mark.parametrize("topic", EVENTS)
class TestDrift:
    def test_an_additional_member(self, topic: str) -> None:
        with pytest.raises(ValueError, match="other members"):
            to_event(changed(sample(topic)[1], surprise=1), KEY)

    def test_a_missing_member(self, topic: str) -> None:
        _, row = sample(topic)
        for name in json.loads(row.payload):
            with pytest.raises(ValueError, match=topic):
                to_event(changed(row, **{name: ...}), KEY)

    def test_a_member_of_another_type(self, topic: str) -> None:
        event, row = sample(topic)
        for name in members(type(event)):
            if name in json.loads(row.payload):
                with pytest.raises(ValueError, match=topic):
                    to_event(changed(row, **{name: [[1]]}), KEY)

    def test_an_unknown_topic(self, topic: str) -> None:
        with pytest.raises(ValueError, match="not known"):
            to_event(sample(topic)[1]._replace(topic=f"{topic}_never"), KEY)

    def test_a_newer_schema(self, topic: str) -> None:
        with pytest.raises(ValueError, match="not known"):
            to_event(sample(topic)[1]._replace(schema=EVENTS[topic].SCHEMA + 1), KEY)

    def test_a_payload_that_is_no_object(self, topic: str) -> None:
        for payload in (b"[]", b"null", b'"x"', b"", b"{"):
            with pytest.raises(ValueError):  # noqa: PT011 (each says something else)
                to_event(sample(topic)[1]._replace(payload=payload), KEY)


@pytest.mark.parametrize("topic", [topic for topic, event in EVENTS.items() if event.PERSONAL])
class TestEncryption:
    def test_the_wrong_key(self, topic: str) -> None:
        with pytest.raises(ValueError, match="cannot be opened"):
            to_event(sample(topic)[1], OTHER_KEY)

    def test_no_key(self, topic: str) -> None:
        event, row = sample(topic)
        with pytest.raises(ValueError, match="is gone"):
            to_event(row, None)
        with pytest.raises(ValueError, match="no subject"):
            to_payload(event, None)

    def test_moved_to_another_place(self, topic: str) -> None:
        _, row = sample(topic)
        for moved in (row._replace(stream=OTHER), row._replace(version=row.version + 1)):
            with pytest.raises(ValueError, match="cannot be opened"):
                to_event(moved, KEY)

    def test_changed_ciphertext(self, topic: str) -> None:
        _, row = sample(topic)
        box = json.loads(row.payload)["personal"]
        turned = ("B" if box[20] != "B" else "C").join((box[:20], box[21:]))
        for wrong in (turned, box[:20], "", "AAAA", "é", 7, None):
            with pytest.raises(ValueError):  # noqa: PT011 (each says something else)
                to_event(changed(row, personal=wrong), KEY)

    def test_the_same_text_never_looks_the_same(self, topic: str) -> None:
        event, row = sample(topic)
        again = json.loads(to_payload(event, KEY))["personal"]
        assert again != json.loads(row.payload)["personal"]


def test_an_unknown_aggregate() -> None:
    row = sample("session.issued")[1]._replace(topic="nobody.issued")
    with pytest.raises(ValueError, match="not known"):
        replay([row], {})


def test_a_stream_comes_back_as_its_aggregate() -> None:
    _, first = sample("communication.drafted")
    _, second = sample("communication.completed")
    found = replay([first, second], {ID: KEY})
    assert (type(found).__name__, found.state, found.version) == ("Communication", "COMPLETED", 2)
