"""Between facts and rows of the ledger.

A payload is plain JSON that an analyst can read; the values that belong to a person stand, encrypted
together, under ``personal``. Who and when come from the metadata, which all facts of a command share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints
from uuid import UUID

import msgspec
import orjson

from domain.aggregate import AGGREGATES, ENTIRE_VALUE, EVENTS, Aggregate, Attribution, DomainEvent
from domain.fields import JsonObject
from infra.encryption import decrypt, encrypt
from infra.ledger.stored_event import StoredEvent

__all__ = ["DESTROYED_KEY", "StoredEvent", "replay", "replay_states", "to_fact", "to_payload"]

DESTROYED_KEY = b""
"""In place of a contact's key: it was destroyed on purpose, and what it encrypted is no more."""

_ADMINISTRATIVE = frozenset(
    {"originator_id", "originator_version", "originator_topic", "timestamp", "user", "unit"}
)
_stamp = msgspec.json.Decoder(Attribution).decode
"""Who and when, of a fact's metadata."""


@cache
def _members(fact: type[DomainEvent]) -> Mapping[str, None]:
    return dict.fromkeys(f.name for f in fields(fact) if f.name not in _ADMINISTRATIVE)


@cache
def _form(fact: type[DomainEvent]) -> type[msgspec.Struct]:
    """What the payload of a fact must look like."""
    types = get_type_hints(fact)
    members = [(name, types[name]) for name in _members(fact)]
    return msgspec.defstruct(fact.__name__, members, forbid_unknown_fields=True)


def _place(stream: UUID, version: int) -> str:
    return f"{stream}/{version}"


def to_payload(fact: DomainEvent, key: bytes | None) -> bytes:
    """The payload of a fact, its personal part encrypted with ``key``."""
    payload: JsonObject = {name: getattr(fact, name) for name in _members(type(fact))}
    if not fact.PERSONAL:
        return orjson.dumps(payload)
    personal: JsonObject = {}
    for name, keys in fact.PERSONAL.items():
        value = payload[name]
        if keys is None:
            personal[name] = payload.pop(name)
        elif value is not None:
            personal[name] = {k: v for k, v in value.items() if k in keys}
            payload[name] = {k: v for k, v in value.items() if k not in keys}
    if key is None:
        raise ValueError(f"{fact.TOPIC} holds personal data and has no subject")
    place = _place(fact.originator_id, fact.originator_version)
    return orjson.dumps(payload | {"personal": encrypt(key, orjson.dumps(personal), place)})


def to_fact(stored: StoredEvent, key: bytes | None) -> DomainEvent:
    """The fact of a row. Raises ``ValueError`` for a topic, form or key that is not known.

    :param key: the subject's key; where it is `DESTROYED_KEY`, personal values are empty ones.
    """
    fact = EVENTS.get(stored.topic)
    if fact is None or stored.schema > fact.SCHEMA:
        raise ValueError(f"fact {stored.topic} version {stored.schema} is not known to this build")
    payload = _said(stored, fact, key)
    for version in range(stored.schema, fact.SCHEMA):
        payload = getattr(fact, f"upcast_v{version}_v{version + 1}")(payload)
    if payload.keys() != _members(fact).keys():
        raise _drifted(stored, "it has other members")
    try:
        said = msgspec.convert(payload, _form(fact))
        by = _stamp(stored.metadata)
    except msgspec.ValidationError as error:
        raise _drifted(stored, str(error)) from error
    # Made as the library's own mapper makes events: initialising one would cost as much as all else.
    found: DomainEvent = object.__new__(fact)
    vars(found).update(
        msgspec.structs.asdict(said),
        originator_id=stored.stream,
        originator_version=stored.version,
        timestamp=by.at,
        user=by.user,
        unit=by.unit,
        stamp=by,
    )
    if stored.version == Aggregate.INITIAL_VERSION:
        vars(found)["originator_topic"] = stored.topic.partition(".")[0]
    return found


def _drifted(stored: StoredEvent, how: str) -> ValueError:
    return ValueError(f"{stored.topic} at {_place(stored.stream, stored.version)}: {how}")


def _said(stored: StoredEvent, fact: type[DomainEvent], key: bytes | None) -> JsonObject:
    """The payload with its personal part opened and put back where it belongs."""
    payload: Any = orjson.loads(stored.payload)
    if not isinstance(payload, dict):
        raise _drifted(stored, "it has another form")
    if "personal" not in payload:
        if fact.PERSONAL and stored.schema == fact.SCHEMA:
            raise _drifted(stored, "its personal part is missing")
        return payload
    box = payload.pop("personal")
    if key == DESTROYED_KEY:
        return _nothing(fact) | payload
    for name, value in _open(stored, box, key).items():
        if name in payload:
            payload[name] = _merged(stored, payload[name], value)
        elif fact.PERSONAL.get(name) is not ENTIRE_VALUE:
            raise _drifted(stored, f"{name} is missing")
        else:
            payload[name] = value
    return payload


def _nothing(fact: type[DomainEvent]) -> JsonObject:
    """Empty values in place of those that belonged as a whole to a person who is forgotten."""
    written = {field.name: str(field.type) for field in fields(fact)}
    return {
        name: _empty(written[name]) for name, keys in fact.PERSONAL.items() if keys is ENTIRE_VALUE
    }


def _empty(written: str) -> Any:
    if "None" in written:
        return None
    return [] if written.startswith("list") else "" if written == "str" else {}


def _open(stored: StoredEvent, box: Any, key: bytes | None) -> JsonObject:
    if not isinstance(box, str):
        raise _drifted(stored, "its personal part has another form")
    if key is None:
        raise ValueError(f"the key of contact {stored.subject} is gone")
    personal: JsonObject = orjson.loads(decrypt(key, box, _place(stored.stream, stored.version)))
    return personal


def _merged(stored: StoredEvent, plain: Any, personal: Any) -> JsonObject:
    if not isinstance(plain, dict) or not isinstance(personal, dict):
        raise _drifted(stored, "its plain and its personal part do not fit together")
    return plain | personal


def replay(stored: list[StoredEvent], keys: Mapping[UUID, bytes]) -> Aggregate:
    """The aggregate of one stream's facts, in order. Raises ``ValueError`` as `to_fact` does."""
    return _aggregate(stored[0]).replay(_facts(stored, keys))


def replay_states(stored: list[StoredEvent], keys: Mapping[UUID, bytes]) -> Iterator[Aggregate]:
    """The same after each fact, one object that the next fact changes. Raises as `replay`."""
    return _aggregate(stored[0]).replay_steps(_facts(stored, keys))


def _aggregate(first: StoredEvent) -> type[Aggregate]:
    aggregate = AGGREGATES.get(first.topic.partition(".")[0])
    if aggregate is None:
        raise ValueError(f"fact {first.topic} is not known to this build")
    return aggregate


def _facts(stored: list[StoredEvent], keys: Mapping[UUID, bytes]) -> Iterator[DomainEvent]:
    return (to_fact(s, keys.get(s.subject) if s.subject else None) for s in stored)
