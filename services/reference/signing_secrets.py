"""Signing secrets: generated, stored encrypted, and rotated without a break."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import datetime, timedelta

from domain.fields import JsonObject
from domain.reference.webhooks import PREFIX, SECRET_BYTES
from services.ports import Secret

__all__ = ["FORMER_PREFIX", "OVERLAP", "generate_secret", "retire_secret"]

FORMER_PREFIX = "former_"
"""The prefix of the name of a replaced secret."""
OVERLAP = timedelta(hours=24)
"""The time for which it still signs beside the new one, so that receivers can change over."""


def generate_secret() -> str:
    """A new signing secret."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES[0])).decode()


def retire_secret(replaced: Secret, name: str, now: datetime) -> JsonObject:
    """The row that keeps a replaced secret until `OVERLAP` has passed."""
    expires_at = (now + OVERLAP).isoformat()
    row: JsonObject = {
        "key_id": replaced.key_id,
        "owner": replaced.owner,
        "name": f"{FORMER_PREFIX}{name}",
    }
    return row | {"verifier": replaced.verifier, "expires_at": expires_at}
