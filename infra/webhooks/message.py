"""The messages that consumers receive: thin, one for each event, signed (Standard Webhooks).

A message only names the entity. Consumers that need more read it with a session, and see what that
session may see. It contains no personal data.
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
    """Return the id of a message: always the same for an event, and of no other."""
    return f"{organisation}/{position}"


def message_body(
    organisation: str, event: Pending, links: Mapping[str, str], base_url: str
) -> bytes:
    """Return the message about an event as JSON.

    :param links: by kind of entity, the path to which its id is appended (`entity_links`).
    :param base_url: the address of the API; links are paths if it is empty.
    """
    assert event.recorded_at is not None
    kind, _, id_ = event.entity.partition("/")
    link = f"{base_url}{links[kind]}{id_}" if kind in links else None
    data = {
        "organisation": organisation,
        "position": event.position,
        "entity": {"kind": kind, "id": id_},
        "version": event.version,
        "link": link,
    }
    moment = event.recorded_at.astimezone(UTC).isoformat()
    return orjson.dumps({"type": event.topic, "timestamp": moment, "data": data})


def signed_headers(id_: str, timestamp: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """Return the headers of a message.

    :param timestamp: the time of this request, in seconds since 1970 UTC.
    :param secrets: each adds a signature; consumers accept any that they can check.
    """
    signed = f"{id_}.{timestamp}.".encode() + body
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
    """Return, by kind of entity, the path of the method that shows it, up to the id."""
    links: dict[str, str] = {}
    for method in METHODS.values():
        if not isinstance(method, Query) or not method.path.endswith("/show"):
            continue
        for row, rule in method.parameters:
            if isinstance(row, Reference) and rule is Level.MANDATORY and "id" in row.target.fields:
                kind = AGGREGATE_NAMES.get(row.target.entity, row.target.entity)
                links[kind] = f"{BASE}{method.path}?{row.parameter}=id="
    return links
