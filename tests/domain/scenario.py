"""Scenarios of one aggregate: what had happened, what is asked, what happens or is refused.

    given(happened(Communication.Drafted, **letter())).when(
        lambda c: c.complete(BY)
    ).then(happened(Communication.Completed))

History is replayed without any check, as the ledger does it; only the command is guarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from domain.aggregate import AGGREGATES, Aggregate, Attribution, DomainEvent
from domain.errors import ServiceError
from domain.fields import JsonObject

__all__ = ["ANOTHER", "BY", "ID", "Asked", "Given", "Happened", "given", "happened", "members"]

ID = UUID("0123456789abcdef0123456789abcdef")
BY = Attribution(datetime(2015, 5, 5, 12, 0, tzinfo=UTC), "1", "UNIT1")
ANOTHER = Attribution(datetime(2016, 6, 6, 13, 0, tzinfo=UTC), "2", "UNIT2")

_OF_EVERY_EVENT = frozenset(
    {"originator_id", "originator_version", "originator_topic", "timestamp", "user", "unit"}
)


def members(event: type[DomainEvent]) -> dict[str, str]:
    """What an event says itself, by member, each with its type as it is written."""
    return {f.name: str(f.type) for f in fields(event) if f.name not in _OF_EVERY_EVENT}


@dataclass(frozen=True)
class Happened:
    """An event without its place in a stream."""

    event: type[DomainEvent]
    payload: JsonObject = field(default_factory=dict)
    by: Attribution = BY

    def at(self, version: int, stream: UUID = ID) -> DomainEvent:
        """The event as the ``version``-th of a stream."""
        who: JsonObject = {
            "originator_id": stream,
            "originator_version": version,
            "timestamp": self.by.at,
            "user": self.by.user,
            "unit": self.by.unit,
        }
        if version == Aggregate.INITIAL_VERSION:
            who["originator_topic"] = self.event.TOPIC.partition(".")[0]
        return self.event(**who, **self.payload)


def happened(event: type[DomainEvent], by: Attribution = BY, /, **payload: Any) -> Happened:
    """An event that happened, or is expected to."""
    return Happened(event, payload, by)


class Given:
    """An aggregate with a history."""

    def __init__(self, history: tuple[Happened, ...]) -> None:
        aggregate = AGGREGATES[history[0].event.TOPIC.partition(".")[0]]
        self.aggregate: Any = aggregate.replay(self._events(history))

    @staticmethod
    def _events(history: tuple[Happened, ...]) -> Iterator[DomainEvent]:
        for version, one in enumerate(history, start=Aggregate.INITIAL_VERSION):
            yield one.at(version)

    def when(self, command: Callable[[Any], object]) -> Asked:
        """Something is asked of it."""
        return Asked(self.aggregate, command)


@dataclass
class Asked:
    """A command on its way; `then` or `refused` lets it happen and looks."""

    aggregate: Any
    command: Callable[[Any], object]

    def then(self, *expected: Happened, state: str = "") -> Any:
        """Exactly these events happen, and the aggregate is in ``state``; returns it."""
        self.command(self.aggregate)
        events = list(self.aggregate.collect_events())
        assert [(type(f), _said(f)) for f in events] == [(e.event, e.payload) for e in expected]
        assert not state or self.aggregate.state == state
        return self.aggregate

    def refused(self, error: type[ServiceError], description: str = "") -> None:
        """The command raises and leaves no trace."""
        before = dict(vars(self.aggregate))
        with pytest.raises(error) as caught:
            self.command(self.aggregate)
        assert type(caught.value) is error
        assert caught.value.description == description
        assert list(self.aggregate.pending_events) == []
        assert vars(self.aggregate) == before


def _said(event: DomainEvent) -> JsonObject:
    return {name: getattr(event, name) for name in members(type(event))}


def given(*history: Happened) -> Given:
    """What had happened before."""
    return Given(history)
