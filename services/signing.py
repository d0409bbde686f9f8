"""Secrets that we sign with: made up, sealed beside the ledger, and renewed without a break."""

from __future__ import annotations

import secrets
from base64 import b64encode
from datetime import datetime, timedelta
from typing import Protocol

from domain.fields import Values
from domain.reference_kinds_webhooks import PREFIX, SECRET_BYTES
from services.ports import Hasher, Secret

__all__ = ["FORMER", "OVERLAP", "Sealing", "former", "made_up"]

FORMER = "former_"
"""Begins the name of a secret that was replaced."""
OVERLAP = timedelta(hours=24)
"""How long it goes on signing beside the new one, so that consumers can change over."""


class Sealing(Hasher, Protocol):
    """Verifiers, and secrets that are needed again."""

    def seal(self, secret: str, place: str) -> str:
        """A secret encrypted for one place, to be opened there."""

    def holds(self, box: str, secret: str, place: str) -> bool:
        """Whether a box of that place has that secret in it; not if another service key sealed it."""


def made_up() -> str:
    """A new signing secret."""
    return PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES[0])).decode()


def former(replaced: Secret, name: str, now: datetime) -> Values:
    """The row that keeps a replaced secret for a while."""
    ends = (now + OVERLAP).isoformat()
    kept: Values = {"key_id": replaced.key_id, "owner": replaced.owner, "name": f"{FORMER}{name}"}
    return kept | {"verifier": replaced.verifier, "expires_at": ends}
