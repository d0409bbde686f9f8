"""Between events and rows of the ledger.

A payload is plain JSON that an analyst can read; the values that belong to a person stand, encrypted
together, under ``personal``. Who and when come from the metadata, which all events of a command share.
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

__all__ = ["DESTROYED_KEY", "StoredEvent", "replay", "replay_states", "to_event", "to_payload"]

DESTROYED_KEY = b""
"""Stands for a contact's key that was destroyed on purpose: what it encrypted is gone."""

_ADMINISTRATIVE = frozenset(
    {"originator_id", "originator_version", "originator_topic", "timestamp", "user", "unit"}
)
_stamp = msgspec.json.Decoder(Attribution).decode
"""Who and when, of an event's metadata."""


@cache
def _members(event: type[DomainEvent]) -> Mapping[str, None]:
    return dict.fromkeys(f.name for f in fields(event) if f.name not in _ADMINISTRATIVE)


@cache
def _form(event: type[DomainEvent]) -> type[msgspec.Struct]:
    """Return the struct that the payload of an event must fit."""
    types = get_type_hints(event)
    members = [(name, types[name]) for name in _members(event)]
    return msgspec.defstruct(event.__name__, members, forbid_unknown_fields=True)


def _place(stream: UUID, version: int) -> str:
    return f"{stream}/{version}"


def to_payload(event: DomainEvent, key: bytes | None) -> bytes:
    """The payload of an event, its personal part encrypted with ``key``."""
    payload: JsonObject = {name: getattr(event, name) for name in _members(type(event))}
    if not event.PERSONAL:
        return orjson.dumps(payload)
    personal: JsonObject = {}
    for name, keys in event.PERSONAL.items():
        value = payload[name]
        if keys is None:
            personal[name] = payload.pop(name)
        elif value is not None:
            personal[name] = {k: v for k, v in value.items() if k in keys}
            payload[name] = {k: v for k, v in value.items() if k not in keys}
    if key is None:
        raise ValueError(f"{event.TOPIC} holds personal data and has no subject")
    place = _place(event.originator_id, event.originator_version)
    return orjson.dumps(payload | {"personal": encrypt(key, orjson.dumps(personal), place)})


def to_event(stored: StoredEvent, key: bytes | None) -> DomainEvent:
    """The event of a row. Raises ``ValueError`` for a topic, form or key that is not known.

    :param key: the subject's key; where it is `DESTROYED_KEY`, personal values are empty ones.
    """
    event = EVENTS.get(stored.topic)
    if event is None or stored.schema > event.SCHEMA:
        raise ValueError(f"event {stored.topic} version {stored.schema} is not known to this build")
    payload = _said(stored, event, key)
    for version in range(stored.schema, event.SCHEMA):
        payload = getattr(event, f"upcast_v{version}_v{version + 1}")(payload)
    if payload.keys() != _members(event).keys():
        raise _drifted(stored, "it has other members")
    try:
        members = msgspec.convert(payload, _form(event))
        by = _stamp(stored.metadata)
    except msgspec.ValidationError as error:
        raise _drifted(stored, str(error)) from error
    # Made as the library's own mapper makes events: initialising one would cost as much as all else.
    restored: DomainEvent = object.__new__(event)
    vars(restored).update(
        msgspec.structs.asdict(members),
        originator_id=stored.stream,
        originator_version=stored.version,
        timestamp=by.at,
        user=by.user,
        unit=by.unit,
        stamp=by,
        is_erased=key == DESTROYED_KEY,
    )
    if stored.version == Aggregate.INITIAL_VERSION:
        vars(restored)["originator_topic"] = stored.topic.partition(".")[0]
    return restored


def _drifted(stored: StoredEvent, how: str) -> ValueError:
    return ValueError(f"{stored.topic} at {_place(stored.stream, stored.version)}: {how}")


def _said(stored: StoredEvent, event: type[DomainEvent], key: bytes | None) -> JsonObject:
    """The payload with its personal part opened and put back where it belongs."""
    payload: Any = orjson.loads(stored.payload)
    if not isinstance(payload, dict):
        raise _drifted(stored, "it has another form")
    if "personal" not in payload:
        if event.PERSONAL and stored.schema == event.SCHEMA:
            raise _drifted(stored, "its personal part is missing")
        return payload
    box = payload.pop("personal")
    if key == DESTROYED_KEY:
        return _nothing(event) | payload
    for name, value in _open(stored, box, key).items():
        if name in payload:
            payload[name] = _merged(stored, payload[name], value)
        elif event.PERSONAL.get(name) is not ENTIRE_VALUE:
            raise _drifted(stored, f"{name} is missing")
        else:
            payload[name] = value
    return payload


def _nothing(event: type[DomainEvent]) -> JsonObject:
    """Return empty values for those that belonged as a whole to an erased person."""
    written = {field.name: str(field.type) for field in fields(event)}
    return {
        name: _empty(written[name]) for name, keys in event.PERSONAL.items() if keys is ENTIRE_VALUE
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
    """The aggregate of one stream's events, in order. Raises ``ValueError`` as `to_event` does."""
    return _aggregate(stored[0]).replay(_events(stored, keys))


def replay_states(stored: list[StoredEvent], keys: Mapping[UUID, bytes]) -> Iterator[Aggregate]:
    """The same after each event, one object that the next event changes. Raises as `replay`."""
    return _aggregate(stored[0]).replay_steps(_events(stored, keys))


def _aggregate(first: StoredEvent) -> type[Aggregate]:
    aggregate = AGGREGATES.get(first.topic.partition(".")[0])
    if aggregate is None:
        raise ValueError(f"event {first.topic} is not known to this build")
    return aggregate


def _events(stored: list[StoredEvent], keys: Mapping[UUID, bytes]) -> Iterator[DomainEvent]:
    return (to_event(s, keys.get(s.subject) if s.subject else None) for s in stored)
