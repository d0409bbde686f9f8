"""New ids: UUIDs that grow with time, so that new rows meet in the same pages of an index."""

from __future__ import annotations

import secrets
import time
from uuid import UUID, uuid5

__all__ = ["format_id", "message_key", "new_id", "record_stream_id"]

_RECORDS = UUID("6f6bbcf5-0a2a-5c70-9d55-5f0f5d3c1a9e")
_MESSAGES = UUID("0d5c1b51-6f0e-4c3a-9a57-3f3c0b8f2f1d")


def new_id() -> UUID:
    """Return a version 7 UUID: milliseconds since 1970, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    return UUID(int=value & ~(0x3 << 62) | 2 << 62)


def format_id(id_: UUID) -> str:
    """Return an id as callers see it: 32 upper-case hex digits (contract common.md, section 9)."""
    return id_.hex.upper()


def record_stream_id(organisation: str, kind: str, id_: str) -> UUID:
    """Return the stream of a registered record, which is a function of its kind and id."""
    return uuid5(_RECORDS, f"{organisation}/{kind}/{id_}")


def message_key(organisation: str, entry: str) -> str:
    """Return the idempotency key of the message of a queue entry: the same each time it is sent."""
    return uuid5(_MESSAGES, f"{organisation}/{entry}").hex
