"""Secrets that we sign with: made up, sealed beside the ledger, and renewed without a break."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import datetime, timedelta

from domain.reference.webhooks import PREFIX, SECRET_BYTES
from services.ports import Secret
from services.side_effects import StoreSecret

__all__ = ["FORMER", "OVERLAP", "generate_secret", "retire_secret"]

FORMER = "former_"
"""Begins the name of a secret that was replaced."""
OVERLAP = timedelta(hours=24)
"""How long it goes on signing beside the new one, so that consumers can change over."""


def generate_secret() -> str:
    """A new signing secret."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES[0])).decode()


def retire_secret(replaced: Secret, name: str, now: datetime) -> StoreSecret:
    """Return the side effect that keeps a replaced secret for a while."""
    until = (now + OVERLAP).isoformat()
    former = f"{FORMER}{name}"
    return StoreSecret(replaced.key_id, replaced.owner, former, replaced.verifier, until)
