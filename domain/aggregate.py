"""What all aggregates share: events with explicit topics, and life cycles as tables.

An event is named in the past tense and says itself what it is called in the ledger (``TOPIC``), from
which states it may happen (``FROM``; empty: from any), where it leads (``TO``; empty: nowhere else),
which of its payload belongs to a person (``PERSONAL``), and whether it shows as the last change in
``log_information`` (``UPDATES_LOG_INFORMATION``). The aggregate checks ``FROM`` when a
command triggers an event and never when history is replayed: a rule tightened today cannot break
what happened last year.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, Self, cast
from uuid import UUID

from eventsourcing.domain import (
    AggregateCreated,
    AggregateEvent,
    BaseAggregate,
    CanInitAggregate,
    CanMutateAggregate,
)

from domain.errors import InvalidLifeCycleState

__all__ = [
    "AGGREGATES",
    "ENTIRE_VALUE",
    "EVENTS",
    "Aggregate",
    "Attribution",
    "CreationEvent",
    "DomainEvent",
]

EVENTS: dict[str, type[DomainEvent]] = {}
"""Every event by its topic."""

AGGREGATES: dict[str, type[Aggregate]] = {}
"""Every aggregate by its topic, the first part of its events' topics."""

ENTIRE_VALUE: frozenset[str] | None = None
"""In `DomainEvent.PERSONAL`: the whole value belongs to a person, not some of its keys."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who acts and when: the moment in UTC, the ids of user and unit (None for the system)."""

    at: datetime
    user: str | None = None
    unit: str | None = None


class DomainEvent(AggregateEvent):
    """Something that happened to one aggregate."""

    TOPIC: ClassVar[str] = ""
    SCHEMA: ClassVar[int] = 1
    FROM: ClassVar[tuple[str, ...]] = ()
    TO: ClassVar[str] = ""
    PERSONAL: ClassVar[Mapping[str, frozenset[str] | None]] = {}
    UPDATES_LOG_INFORMATION: ClassVar[bool] = True

    user: str | None
    unit: str | None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        topic = cls.__dict__.get("TOPIC", "")
        if topic and topic in EVENTS:
            raise TypeError(f"two events have the topic {topic}")
        if topic:
            EVENTS[topic] = cls

    def apply(self, aggregate: Any) -> None:
        """Moves the aggregate along its life cycle, then lets the event change it."""
        aggregate.state = self.TO or aggregate.state
        if self.UPDATES_LOG_INFORMATION:
            aggregate.stamp = self.stamp
        self.apply_to(aggregate)

    def apply_to(self, aggregate: Any) -> None:
        """What the event changes besides the state; builds new values, never edits its own."""

    @cached_property
    def stamp(self) -> Attribution:
        """Who caused it and when."""
        return Attribution(self.timestamp, self.user, self.unit)


class CreationEvent(DomainEvent, AggregateCreated):
    """Beside an aggregate's ``Event``: makes an event the first one of its aggregate."""

    def mutate(self, aggregate: Any) -> Any:
        """The new aggregate.

        The library's own way asks each time by name which values the aggregate's initialisation
        takes, and where its class is; here it takes none, and events say what they change.
        """
        assert aggregate is None
        aggregate_class = AGGREGATES[self.originator_topic]
        new = aggregate_class.__new__(aggregate_class)
        new.__base_init__(self.originator_id, self.originator_version, self.timestamp)
        aggregate_class.__init__(new)
        new.created = self.stamp
        self.apply(new)
        return new


class Aggregate(BaseAggregate[UUID]):
    """An entity whose state is the sum of its events.

    ``state`` is its life cycle state, ``created`` and ``stamp`` say who made the first and the
    last change that counts, and when.
    """

    TOPIC: ClassVar[str] = ""

    class Event(DomainEvent):
        """The base of all events."""

    def __init__(self) -> None:
        self.state = ""
        self.created: Attribution
        self.stamp: Attribution

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if cls.TOPIC in AGGREGATES:
            raise TypeError(f"two aggregates have the topic {cls.TOPIC}")
        AGGREGATES[cls.TOPIC] = cls

    @classmethod
    def create(
        cls,
        event: type[CanInitAggregate[UUID]],
        by: Attribution,
        *,
        id: UUID,  # noqa: A002
        **payload: Any,
    ) -> Self:
        """A new aggregate whose first event is ``event``."""
        return cls._create(event, id=id, timestamp=by.at, user=by.user, unit=by.unit, **payload)

    def raise_event(self, event: type[DomainEvent], by: Attribution, **payload: Any) -> None:
        """Lets ``event`` happen; refuses with `InvalidLifeCycleState` where it may not."""
        if event.FROM:
            self.require(*event.FROM)
        self.trigger_event(event, timestamp=by.at, user=by.user, unit=by.unit, **payload)

    def require(self, *states: str) -> None:
        """Refuses with `InvalidLifeCycleState` in any other state than these."""
        if self.state not in states:
            raise InvalidLifeCycleState

    @classmethod
    def replay(cls, events: Iterable[DomainEvent]) -> Self:
        """The aggregate that ``events``, in order, make."""
        aggregate: Any = None
        for step in cls.replay_steps(events):
            aggregate = step
        return cast(Self, aggregate)

    @classmethod
    def replay_steps(cls, events: Iterable[DomainEvent]) -> Iterator[Self]:
        """The aggregate after each of ``events``: one object, that changes from step to step."""
        aggregate: Any = None
        for event in events:
            aggregate = cast(CanMutateAggregate[UUID], event).mutate(aggregate)
            yield aggregate

    @property
    def data_subject(self) -> UUID | None:
        """The contact whose personal data its events hold, if any."""
        return None

    @property
    def event_types(self) -> tuple[type[DomainEvent], ...]:
        """The kinds of event that can happen to it, in the order of their declaration."""
        return tuple(f for topic, f in EVENTS.items() if topic.startswith(f"{self.TOPIC}."))
