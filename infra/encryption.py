"""Personal data inside events: one key per contact, wrapped by a key of the service."""

from __future__ import annotations

import hmac
import os
from base64 import b64encode
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

__all__ = ["DerivedKeys", "KeyRing", "decrypt", "derive_key", "encrypt", "key_id"]

_NONCE_LENGTH = 12
_ENCRYPTED = b"\x01"
"""The first byte of what a service key has encrypted; no JSON begins with it. The key's id follows."""
_PREFIX = 9
"""Bytes before the nonce."""


def derive_key(secret: str, purpose: str) -> bytes:
    """Return a 256-bit key for one purpose, derived from a service's secret text (HKDF-SHA256)."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"crmledger/{purpose}".encode())
    return kdf.derive(secret.encode())


def key_id(service_key: str) -> str:
    """Return the name of a service key: 16 hex digits that tell nothing about it."""
    return derive_key(service_key, "id")[: _PREFIX - 1].hex()


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


class DerivedKeys:
    """The keys of one purpose, derived from the service key and its fallbacks; can be sent to other processes.

    What is encrypted names its key, so that any of them decrypts it; the first encrypts.
    """

    def __init__(self, purpose: str, service_key: str, *fallbacks: str) -> None:
        secrets = (service_key, *fallbacks)
        self._keys = {key_id(secret): derive_key(secret, purpose) for secret in secrets}
        self._current = key_id(service_key)

    def encrypt(self, text: bytes, place: str) -> bytes:
        """Return a text encrypted for one place, as `encrypt` does."""
        nonce = os.urandom(_NONCE_LENGTH)
        ciphertext = AESGCM(self._keys[self._current]).encrypt(nonce, text, place.encode())
        return _ENCRYPTED + bytes.fromhex(self._current) + nonce + ciphertext

    def decrypt(self, box: bytes, place: str) -> bytes:
        """Return the text. Raises ``ValueError`` for a key that is not listed, another place or content."""
        key = self._keys.get(box[1:_PREFIX].hex())
        if key is None or not box.startswith(_ENCRYPTED):
            raise ValueError(f"what another service key has sealed for {place} cannot be opened")
        return _decrypt(key, box[_PREFIX:], place)

    def renew(self, box: bytes, place: str) -> bytes:
        """Return the same text encrypted with the current key. Raises ``ValueError`` as `decrypt` does."""
        return self.encrypt(self.decrypt(box, place), place)

    def hashes(self, text: str) -> list[str]:
        """Return the keyed hashes of a text, one for each key: first the current one, which is stored."""
        return self._encrypt_digest(sha256(text.encode()).digest())

    def renew_hash(self, stored: str) -> list[str]:
        """Return what `hashes` returned for the text of a stored hash. Raises ``ValueError`` for another key."""
        id_, _, ciphertext = stored.partition(":")
        try:
            digest = AESSIV(self._keys[id_]).decrypt(bytes.fromhex(ciphertext), None)
        except (KeyError, InvalidTag) as error:
            raise ValueError("another service key has made a stored hash") from error
        return self._encrypt_digest(digest)

    def mac(self, message: bytes) -> bytes:
        """Return the id of the current key and the HMAC-SHA-256 of a message under it."""
        return bytes.fromhex(self._current) + hmac.digest(
            self._keys[self._current], message, "sha256"
        )

    def is_mac(self, mac: bytes, message: bytes) -> bool:
        """Return True if `mac` returned this for the message, with any of the keys."""
        id_, digest = mac[: _PREFIX - 1], mac[_PREFIX - 1 :]
        key = self._keys.get(id_.hex())
        return key is not None and hmac.compare_digest(digest, hmac.digest(key, message, "sha256"))

    def _encrypt_digest(self, digest: bytes) -> list[str]:
        # Deterministic encryption (RFC 5297) in place of a MAC: as useless without the key, and
        # a hash can pass to another key though nobody knows the secret.
        return [
            f"{id_}:{AESSIV(key).encrypt(digest, None).hex()}" for id_, key in self._keys.items()
        ]


class KeyRing:
    """Creates contacts' keys and unwraps stored ones, authenticates events; can be sent to other processes."""

    def __init__(self, service_key: str, *fallbacks: str) -> None:
        """:param service_key: the secret text of at least 32 bytes that all processes share."""
        self._wrapping = DerivedKeys("personal-keys", service_key, *fallbacks)
        self._answers = DerivedKeys("answers", service_key, *fallbacks)
        self.events = DerivedKeys("events", service_key, *fallbacks)
        """The keys of the events' MACs."""

    def new(self) -> tuple[bytes, str]:
        """Return a new key, and the same wrapped for storage."""
        key = AESGCM.generate_key(256)
        return key, b64encode(self._wrapping.encrypt(key, "key")).decode()

    def unwrap(self, wrapped: bytes) -> bytes:
        """Return the key. Raises ``ValueError`` if another service key wrapped it."""
        return self._wrapping.decrypt(wrapped, "key")

    def rewrap(self, wrapped: bytes) -> bytes:
        """Return the key wrapped by the current service key. Raises ``ValueError`` as `unwrap` does."""
        return self._wrapping.renew(wrapped, "key")

    def encrypt_response(self, answer: bytes, key: str) -> bytes:
        """Return a response encrypted for its idempotency key: it may hold secrets and personal data."""
        return self._answers.encrypt(answer, key)

    def decrypt_response(self, stored: bytes, key: str) -> bytes:
        """Return the response. Raises ``ValueError`` if another service key has encrypted it."""
        # An erasure leaves `{}`, in clear.
        return self._answers.decrypt(stored, key) if stored.startswith(_ENCRYPTED) else stored

    def renew_response(self, stored: bytes, key: str) -> bytes:
        """Return the response encrypted with the current key. Raises ``ValueError`` as `decrypt_response` does."""
        return self._answers.renew(stored, key) if stored.startswith(_ENCRYPTED) else stored
