"""Secrets that the service must show to others, such as the password of an e-mail server.

They cannot be kept as hashes. They are encrypted with a key of the service, each for the one place
where it may be decrypted, and stored where other secrets have their verifiers; no answer holds one.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Protocol

from services.ports import Hasher, SecretStore

__all__ = ["SecretCipher", "encrypt_if_changed", "stored_secret"]


class SecretCipher(Hasher, Protocol):
    """Verifiers of secrets, and encrypted secrets."""

    def encrypt(self, secret: str, place: str) -> str:
        """Return a secret, encrypted for one place."""

    def decrypt(self, box: str, place: str) -> str:
        """Return the secret. Raises ``ValueError`` if it was encrypted for another place or key."""


def encrypt_if_changed(
    cipher: SecretCipher, organisation: str, owner: str, name: str, secret: str, stored: str | None
) -> str | None:
    """Return a secret of an entity (``kind/id``), encrypted; None if it is the stored one."""
    place = f"{organisation}/{owner}/{name}"
    try:
        same = stored is not None and compare_digest(
            cipher.decrypt(stored, place).encode(), secret.encode()
        )
    except ValueError:
        # It was encrypted with another service key: given again, it is encrypted with this one.
        same = False
    return None if same else cipher.encrypt(secret, place)


async def stored_secret(
    store: SecretStore, cipher: SecretCipher, organisation: str, owner: str, name: str
) -> str | None:
    """Return an encrypted secret of an entity (``kind/id``), decrypted; None if it has none.

    Raises ``ValueError`` if this process has another service key.
    """
    secret = await store.secret(organisation, owner, name)
    if secret is None:
        return None
    return cipher.decrypt(secret.verifier, f"{organisation}/{owner}/{name}")
