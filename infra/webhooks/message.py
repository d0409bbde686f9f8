"""What a consumer is sent: a thin message about one event, signed (Standard Webhooks).

The message names the entity and says nothing of it: whoever wants to know more reads it with a
session, and sees what that session may see. Nothing in it belongs to a person.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC

import orjson

from domain.composite_fields import Reference
from domain.fields import Level
from domain.reference.webhooks import PREFIX
from infra.webhooks.subscriptions import Pending
from services.audit.history_service import AGGREGATE_NAMES
from services.pipeline.method import BASE, METHODS, Query

__all__ = ["entity_links", "message_body", "message_id", "signed_headers"]


def message_id(organisation: str, position: int) -> str:
    """The id of a message: the same whenever the event is told, and no other one's."""
    return f"{organisation}/{position}"


def message_body(organisation: str, event: Pending, shows: Mapping[str, str], base: str) -> bytes:
    """The message about an event.

    :param shows: what an entity's id is appended to, by kind (`entity_links`).
    :param base: the address of the API; links are paths if it is empty.
    """
    assert event.recorded_at is not None
    kind, _, id_ = event.entity.partition("/")
    link = f"{base}{shows[kind]}{id_}" if kind in shows else None
    data = {
        "organisation": organisation,
        "position": event.position,
        "entity": {"kind": kind, "id": id_},
        "version": event.version,
        "link": link,
    }
    moment = event.recorded_at.astimezone(UTC).isoformat()
    return orjson.dumps({"type": event.topic, "timestamp": moment, "data": data})


def signed_headers(
    id_: str, timestamp: int, content: bytes, secrets: Iterable[str]
) -> dict[str, str]:
    """The headers of a message.

    :param timestamp: seconds since 1970 UTC, of this very request.
    :param secrets: each signs; consumers accept any signature that they can check.
    """
    signed = f"{id_}.{timestamp}.".encode() + content
    return {
        "Content-Type": "application/json",
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, signed) for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = b64decode(secret.removeprefix(PREFIX))
    return f"v1,{b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()}"


def entity_links() -> dict[str, str]:
    """For each kind of entity that a method shows by its id, the path up to that id."""
    found: dict[str, str] = {}
    for method in METHODS.values():
        if not isinstance(method, Query) or not method.path.endswith("/show"):
            continue
        for row, rule in method.parameters:
            if isinstance(row, Reference) and rule is Level.MANDATORY and "id" in row.target.fields:
                kind = AGGREGATE_NAMES.get(row.target.entity, row.target.entity)
                found[kind] = f"{BASE}{method.path}?{row.parameter}=id="
    return found
