"""Signing secrets: generated, stored encrypted, and rotated without a break."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import datetime, timedelta

from domain.reference.webhooks import PREFIX, SECRET_BYTES
from services.ports import Secret
from services.side_effects import StoreSecret

__all__ = ["FORMER", "OVERLAP", "generate_secret", "retire_secret"]

FORMER = "former_"
"""The prefix of the name of a replaced secret."""
OVERLAP = timedelta(hours=24)
"""The time for which it still signs beside the new one, so that receivers can change over."""


def generate_secret() -> str:
    """A new signing secret."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES[0])).decode()


def retire_secret(replaced: Secret, name: str, now: datetime) -> StoreSecret:
    """Return the side effect that keeps a replaced secret until `OVERLAP` has passed."""
    until = (now + OVERLAP).isoformat()
    former = f"{FORMER}{name}"
    return StoreSecret(replaced.key_id, replaced.owner, former, replaced.verifier, until)
