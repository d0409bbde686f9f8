"""The base of all aggregates: events with explicit topics, and life cycles as tables.

An event is named in the past tense. It declares its name in the ledger (``TOPIC``), the states from
which it may happen (``FROM``; empty: any), the state to which it leads (``TO``; empty: the same),
the personal members of its payload (``PERSONAL``), and whether it shows as the last change in
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
"""In `DomainEvent.PERSONAL`: the whole value is personal, not only some of its keys."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """An actor and a time: the moment in UTC, the ids of user and unit (None for the system)."""

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
    ENDS_SESSIONS: ClassVar[bool] = False

    user: str | None
    unit: str | None

    # No field of the payload: it is known when the event is read, and differs from day to day.
    is_erased = False
    """True if the key of its data subject is destroyed, and its personal members with it."""

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
        aggregate.is_erased |= self.is_erased
        if self.UPDATES_LOG_INFORMATION:
            aggregate.stamp = self.stamp
        if self.ENDS_SESSIONS:
            aggregate.session_epoch += 1
        self.apply_to(aggregate)

    def apply_to(self, aggregate: Any) -> None:
        """Changes the aggregate besides its state; builds new values, never edits those it has."""

    @cached_property
    def stamp(self) -> Attribution:
        """The user and unit that caused the event, and the time."""
        return Attribution(self.timestamp, self.user, self.unit)


class CreationEvent(DomainEvent, AggregateCreated):
    """A base beside an aggregate's ``Event``: makes an event the first one of its aggregate."""

    def mutate(self, aggregate: Any) -> Any:
        """The new aggregate.

        The library's own method looks up the parameters of the aggregate's initialisation and its
        class at each call. Here initialisation takes none, and `apply_to` sets the values.
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
    last change that counts, and when. ``session_epoch`` is the number of events that ended all sessions
    begun with it: a session remembers the epochs that it began in. ``is_erased`` says that personal
    values which its events held are destroyed: an empty value alone does not say so.
    """

    TOPIC: ClassVar[str] = ""

    class Event(DomainEvent):
        """The base of all events of an aggregate.

        The eventsourcing library wants a class of this name in each aggregate: it defines every
        event that is not derived from it anew, as a subclass of both, and that class would not be
        the one in `EVENTS`. So each aggregate has an inner ``Event`` of its own, derived from this
        one, and derives its events from that.
        """

    def __init__(self) -> None:
        self.state = ""
        self.session_epoch = 0
        self.is_erased = False
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
        """Triggers ``event``; raises `InvalidLifeCycleState` if the state does not allow it."""
        if event.FROM:
            self.require(*event.FROM)
        self.trigger_event(event, timestamp=by.at, user=by.user, unit=by.unit, **payload)

    def require(self, *states: str) -> None:
        """Raises `InvalidLifeCycleState` in any other state than these."""
        if self.state not in states:
            raise InvalidLifeCycleState

    @classmethod
    def replay(cls, events: Iterable[DomainEvent]) -> Self:
        """The aggregate after all ``events``, which are in order."""
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
        """The types of its events, in the order of their declaration."""
        return tuple(event for topic, event in EVENTS.items() if topic.startswith(f"{self.TOPIC}."))
