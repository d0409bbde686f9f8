"""Strategies for the payload of every event.

A payload is made from the members' written types, so a new event is covered without edits; a type
that is not known here fails loudly. What belongs to a person is made of `MARKERS`, texts that a
search in bytes cannot miss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from domain.aggregate import ENTIRE_VALUE, EVENTS, Aggregate, DomainEvent
from domain.fields import JsonObject
from tests.domain.scenario import members
from tests.fixtures.strategies import TEXTS

__all__ = ["MARKERS", "beginnings", "payloads"]

MARKERS = st.integers(10**8, 10**9 - 1).map(lambda n: f'PERSONAL{n}é"')
"""Texts that belong to a person and occur nowhere else."""

_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
)


def _values(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> Any:
    nested = st.one_of(
        leaves, st.lists(leaves, max_size=2), st.dictionaries(names, leaves, max_size=2)
    )
    return st.dictionaries(names, nested, max_size=3)


NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
TYPES: Mapping[str, Any] = {
    "str": lambda leaves: leaves.map(lambda leaf: leaf if isinstance(leaf, str) else repr(leaf)),
    "str | None": lambda leaves: st.none() | TYPES["str"](leaves),
    "int": lambda leaves: st.integers(0, 2**53 - 1),
    "bool": lambda leaves: st.booleans(),
    "bool | None": lambda leaves: st.none() | st.booleans(),
    "JsonObject": lambda leaves: _values(leaves, NAMES),
    "JsonObject | None": lambda leaves: st.none() | _values(leaves, NAMES),
    "list[str]": lambda leaves: st.lists(TYPES["str"](leaves), max_size=3),
    "list[JsonObject]": lambda leaves: st.lists(_values(leaves, NAMES), max_size=2),
    "list[JsonObject] | None": lambda leaves: st.none() | TYPES["list[JsonObject]"](leaves),
    "dict[str, str]": lambda leaves: st.dictionaries(NAMES, TYPES["str"](leaves), max_size=3),
    "dict[str, int]": lambda leaves: st.dictionaries(NAMES, TYPES["int"](leaves), max_size=3),
    "dict[str, list[JsonObject]]": lambda leaves: st.dictionaries(
        NAMES, TYPES["list[JsonObject]"](leaves), max_size=2
    ),
}
"""Strategies by a member's written type; each takes a strategy for the leaves."""


def payloads(event: type[DomainEvent]) -> st.SearchStrategy[JsonObject]:
    """What an event may say; what is personal consists of markers."""
    return st.fixed_dictionaries(
        {name: _member(event, name, written) for name, written in members(event).items()}
    )


def _member(event: type[DomainEvent], name: str, written: str) -> st.SearchStrategy[Any]:
    if written not in TYPES:
        raise LookupError(f"no strategy for {written} ({event.TOPIC}.{name})")
    plain = TEXTS if written.startswith("str") else _SCALARS
    keys = event.PERSONAL.get(name, frozenset())
    whole: st.SearchStrategy[Any] = TYPES[written](MARKERS if keys is ENTIRE_VALUE else plain)
    if not keys:
        return whole
    personal = st.dictionaries(st.sampled_from(sorted(keys)), MARKERS, max_size=3)
    rest = whole.map(lambda v: {k: m for k, m in v.items() if k not in keys})
    return st.tuples(rest, personal).map(lambda parts: parts[0] | parts[1])


def beginnings(aggregate: type[Aggregate]) -> list[type[DomainEvent]]:
    """The events that can be the first of an aggregate."""
    topics = (t for t in EVENTS if t.partition(".")[0] == aggregate.TOPIC)
    return [f for t in topics if "originator_topic" in (f := EVENTS[t]).__dataclass_fields__]
