"""Secrets that the service must show to others, such as the password of an e-mail server.

They cannot be kept as hashes. They are sealed with a key of the service, each for the one place where
it may be opened, and stand where other secrets have their verifiers; no answer ever holds one.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Protocol

from services.ports import CredentialStore, Hasher

__all__ = ["SecretCipher", "encrypt_if_changed", "stored_secret"]


class SecretCipher(Hasher, Protocol):
    """Verifiers of secrets, and sealed secrets."""

    def encrypt(self, secret: str, place: str) -> str:
        """A secret, sealed for one place."""

    def decrypt(self, box: str, place: str) -> str:
        """It again. Raises ``ValueError`` where it was sealed for another place or with another key."""


def encrypt_if_changed(
    keeper: SecretCipher, organisation: str, owner: str, name: str, secret: str, stored: str | None
) -> str | None:
    """What is kept of a secret of an entity (``kind/id``); None if it is the stored one."""
    place = f"{organisation}/{owner}/{name}"
    try:
        same = stored is not None and compare_digest(
            keeper.decrypt(stored, place).encode(), secret.encode()
        )
    except ValueError:
        # Another service key sealed it: whoever gives the secret again seals it with this one.
        same = False
    return None if same else keeper.encrypt(secret, place)


async def stored_secret(
    ledger: CredentialStore, keeper: SecretCipher, organisation: str, owner: str, name: str
) -> str | None:
    """A sealed secret of an entity (``kind/id``); None if it has none.

    Raises ``ValueError`` if this process has another service key.
    """
    kept = await ledger.secret(organisation, owner, name)
    if kept is None:
        return None
    return keeper.decrypt(kept.verifier, f"{organisation}/{owner}/{name}")
