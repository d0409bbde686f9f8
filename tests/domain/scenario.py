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

_OF_EVERY_FACT = frozenset(
    {"originator_id", "originator_version", "originator_topic", "timestamp", "user", "unit"}
)


def members(fact: type[DomainEvent]) -> dict[str, str]:
    """What a fact says itself, by member, each with its type as it is written."""
    return {f.name: str(f.type) for f in fields(fact) if f.name not in _OF_EVERY_FACT}


@dataclass(frozen=True)
class Happened:
    """A fact without its place in a stream."""

    fact: type[DomainEvent]
    payload: JsonObject = field(default_factory=dict)
    by: Attribution = BY

    def at(self, version: int, stream: UUID = ID) -> DomainEvent:
        """The fact as the ``version``-th of a stream."""
        who: JsonObject = {
            "originator_id": stream,
            "originator_version": version,
            "timestamp": self.by.at,
            "user": self.by.user,
            "unit": self.by.unit,
        }
        if version == Aggregate.INITIAL_VERSION:
            who["originator_topic"] = self.fact.TOPIC.partition(".")[0]
        return self.fact(**who, **self.payload)


def happened(fact: type[DomainEvent], by: Attribution = BY, /, **payload: Any) -> Happened:
    """A fact that happened, or is expected to."""
    return Happened(fact, payload, by)


class Given:
    """An aggregate with a history."""

    def __init__(self, history: tuple[Happened, ...]) -> None:
        aggregate = AGGREGATES[history[0].fact.TOPIC.partition(".")[0]]
        self.aggregate: Any = aggregate.replay(self._facts(history))

    @staticmethod
    def _facts(history: tuple[Happened, ...]) -> Iterator[DomainEvent]:
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
        """Exactly these facts happen, and the aggregate is in ``state``; returns it."""
        self.command(self.aggregate)
        facts = list(self.aggregate.collect_events())
        assert [(type(f), _said(f)) for f in facts] == [(e.fact, e.payload) for e in expected]
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


def _said(fact: DomainEvent) -> JsonObject:
    return {name: getattr(fact, name) for name in members(type(fact))}


def given(*history: Happened) -> Given:
    """What had happened before."""
    return Given(history)
