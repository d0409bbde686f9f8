"""Secrets that we sign with: made up, sealed beside the ledger, and renewed without a break."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import datetime, timedelta

from domain.fields import JsonObject
from domain.reference.webhooks import PREFIX, SECRET_BYTES
from services.ports import Secret

__all__ = ["FORMER_PREFIX", "OVERLAP", "generate_secret", "retire_secret"]

FORMER_PREFIX = "former_"
"""Begins the name of a secret that was replaced."""
OVERLAP = timedelta(hours=24)
"""How long it goes on signing beside the new one, so that consumers can change over."""


def generate_secret() -> str:
    """A new signing secret."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES[0])).decode()


def retire_secret(replaced: Secret, name: str, now: datetime) -> JsonObject:
    """The row that keeps a replaced secret for a while."""
    expires_at = (now + OVERLAP).isoformat()
    row: JsonObject = {
        "key_id": replaced.key_id,
        "owner": replaced.owner,
        "name": f"{FORMER_PREFIX}{name}",
    }
    return row | {"verifier": replaced.verifier, "expires_at": expires_at}
