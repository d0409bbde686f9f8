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

_NONCE_LENGTH = 12
_ENCRYPTED = b"\x01"
"""The first byte of an encrypted response; no JSON begins with it."""


def derive_key(secret: str, purpose: str) -> bytes:
    """Return a 256-bit key for one purpose, derived from a service's secret text (HKDF-SHA256)."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"crmledger/{purpose}".encode())
    return kdf.derive(secret.encode())


def encrypt(key: bytes, text: bytes, place: str) -> str:
    """Return a text encrypted with AES-256-GCM for one place, as base64; for another it cannot be decrypted."""
    nonce = os.urandom(_NONCE_LENGTH)
    return b64encode(nonce + AESGCM(key).encrypt(nonce, text, place.encode())).decode()


def decrypt(key: bytes, ciphertext: str, place: str) -> bytes:
    """Return the text that `encrypt` took. Raises ``ValueError`` for another key, place or content."""
    return _decrypt(key, msgspec.convert(ciphertext, bytes), place)


def _decrypt(key: bytes, ciphertext: bytes, place: str) -> bytes:
    try:
        return AESGCM(key).decrypt(
            ciphertext[:_NONCE_LENGTH], ciphertext[_NONCE_LENGTH:], place.encode()
        )
    except InvalidTag as error:
        raise ValueError(f"what was sealed for {place} cannot be opened") from error


class KeyRing:
    """Creates contacts' keys and unwraps stored ones; can be sent to other processes."""

    def __init__(self, service_key: str) -> None:
        """:param service_key: the secret text of at least 32 bytes that all processes share."""
        self._wrapping = derive_key(service_key, "personal-keys")
        self._answers = derive_key(service_key, "answers")

    def new(self) -> tuple[bytes, str]:
        """Return a new key, and the same wrapped for storage."""
        key = AESGCM.generate_key(256)
        return key, encrypt(self._wrapping, key, "key")

    def encrypt_response(self, answer: bytes, key: str) -> bytes:
        """Return a response encrypted for its idempotency key: it may hold secrets and personal data."""
        nonce = os.urandom(_NONCE_LENGTH)
        return _ENCRYPTED + nonce + AESGCM(self._answers).encrypt(nonce, answer, key.encode())

    def decrypt_response(self, stored: bytes, key: str) -> bytes:
        """Return the response. Raises ``ValueError`` if another service key has encrypted it."""
        if not stored.startswith(_ENCRYPTED):
            return stored  # JSON that was stored before responses were encrypted
        ciphertext = stored[len(_ENCRYPTED) :]
        try:
            return AESGCM(self._answers).decrypt(
                ciphertext[:_NONCE_LENGTH], ciphertext[_NONCE_LENGTH:], key.encode()
            )
        except InvalidTag as error:
            raise ValueError("a kept answer cannot be opened") from error

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return the key. Raises ``ValueError`` if another service key wrapped it."""
        return _decrypt(self._wrapping, wrapped, "key")
