"""Personal data inside events: one key per contact, wrapped by a key of the service."""

from __future__ import annotations

import os
from base64 import b64encode

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["KeyRing", "decrypt", "derive_key", "encrypt"]

_NONCE = 12
_SEALED = b"\x01"
"""Begins what is sealed; no JSON begins so."""


def derive_key(secret: str, purpose: str) -> bytes:
    """A 256-bit key for one purpose out of a service's secret text (HKDF-SHA256)."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"crmledger/{purpose}".encode())
    return kdf.derive(secret.encode())


def encrypt(key: bytes, text: bytes, place: str) -> str:
    """A text encrypted with AES-256-GCM for one place, as base64; elsewhere it does not open."""
    nonce = os.urandom(_NONCE)
    return b64encode(nonce + AESGCM(key).encrypt(nonce, text, place.encode())).decode()


def decrypt(key: bytes, ciphertext: str, place: str) -> bytes:
    """The text of `encrypt`. Raises ``ValueError`` if key, place or content is not the right one."""
    return _decrypted(key, msgspec.convert(ciphertext, bytes), place)


def _decrypted(key: bytes, ciphertext: bytes, place: str) -> bytes:
    try:
        return AESGCM(key).decrypt(ciphertext[:_NONCE], ciphertext[_NONCE:], place.encode())
    except InvalidTag as error:
        raise ValueError(f"what was sealed for {place} cannot be opened") from error


class KeyRing:
    """Makes contacts' keys and unwraps stored ones; goes to other processes as it is."""

    def __init__(self, service_key: str) -> None:
        """:param service_key: the secret text of at least 32 bytes that all processes share."""
        self._wrapping = derive_key(service_key, "personal-keys")
        self._answers = derive_key(service_key, "answers")

    def new(self) -> tuple[bytes, str]:
        """A new key, and the same wrapped for storage."""
        key = AESGCM.generate_key(256)
        return key, encrypt(self._wrapping, key, "key")

    def encrypt_response(self, answer: bytes, key: str) -> bytes:
        """An answer as it is kept for its idempotency key: it may hold secrets and persons' data."""
        nonce = os.urandom(_NONCE)
        return _SEALED + nonce + AESGCM(self._answers).encrypt(nonce, answer, key.encode())

    def decrypt_response(self, kept: bytes, key: str) -> bytes:
        """The answer again. Raises ``ValueError`` if another service key has sealed it."""
        if not kept.startswith(_SEALED):
            return kept  # JSON: it was kept before answers were sealed
        box = kept[len(_SEALED) :]
        try:
            return AESGCM(self._answers).decrypt(box[:_NONCE], box[_NONCE:], key.encode())
        except InvalidTag as error:
            raise ValueError("a kept answer cannot be opened") from error

    def unwrap(self, wrapped: bytes) -> bytes:
        """The key. Raises ``ValueError`` if another service key wrapped it."""
        return _decrypted(self._wrapping, wrapped, "key")
