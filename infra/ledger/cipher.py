"""Personal data inside facts: one key per contact, wrapped by a key of the service."""

from __future__ import annotations

import os
from base64 import b64decode, b64encode

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["KeyRing", "derived", "opened", "sealed"]

_NONCE = 12


def derived(secret: str, purpose: str) -> bytes:
    """A 256-bit key for one purpose out of a service's secret text (HKDF-SHA256)."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"crmledger/{purpose}".encode())
    return kdf.derive(secret.encode())


def sealed(key: bytes, text: bytes, place: str) -> str:
    """A text encrypted with AES-256-GCM for one place, as base64; elsewhere it does not open."""
    nonce = os.urandom(_NONCE)
    return b64encode(nonce + AESGCM(key).encrypt(nonce, text, place.encode())).decode()


def opened(key: bytes, box: str, place: str) -> bytes:
    """The text of `sealed`. Raises ``ValueError`` if key, place or content is not the right one."""
    raw = b64decode(box)
    try:
        return AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], place.encode())
    except InvalidTag as error:
        raise ValueError(f"personal data of {place} cannot be opened") from error


class KeyRing:
    """Makes contacts' keys and unwraps stored ones."""

    def __init__(self, service_key: str) -> None:
        """:param service_key: the secret text of at least 32 bytes that all processes share."""
        self._wrapping = derived(service_key, "personal-keys")

    def new(self) -> tuple[bytes, str]:
        """A new key, and the same wrapped for storage."""
        key = AESGCM.generate_key(256)
        return key, sealed(self._wrapping, key, "key")

    def unwrap(self, wrapped: bytes) -> bytes:
        """The key. Raises ``ValueError`` if another service key wrapped it."""
        return opened(self._wrapping, b64encode(wrapped).decode(), "key")
