"""Verifiers of secrets: Argon2id for passwords, keyed hashes for random keys; encrypted secrets."""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor

from argon2 import Parameters, PasswordHasher, Type
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import ARGON2_VERSION

from domain.parsing import comparable
from infra.encryption import DerivedKeys
from infra.fair_queue import FairQueue

__all__ = ["SecretHasher"]

ARGON2_PARAMETERS = Parameters(
    type=Type.ID,
    version=ARGON2_VERSION,
    salt_len=16,
    hash_len=32,
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
)
"""The least that OWASP's cheat sheet recommends: passes over the memory, and its size in KiB."""

CONCURRENCY = 2
"""Hashes that are computed at the same time: each takes 19 MiB and a core."""


class SecretHasher:
    """Hashes and verifies secrets outside the event loop, at most `CONCURRENCY` at a time, in fair turns."""

    def __init__(self, service_key: str, *fallbacks: str) -> None:
        self._hasher = PasswordHasher.from_parameters(ARGON2_PARAMETERS)
        self._threads = ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="argon2")
        self._queue = FairQueue(CONCURRENCY)
        self.turn = self._queue.slot
        self.note_success = self._queue.note_success
        self._hashes = DerivedKeys("keys", service_key, *fallbacks)
        self._boxes = DerivedKeys("sealed-secrets", service_key, *fallbacks)
        self._dummy = self._hasher.hash("no user has this password")

    async def hash(self, secret: str) -> str:
        """Return a slow, salted hash of a password; canonically equal ones are the same (RFC 8265)."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._hasher.hash, comparable(secret))

    async def verify(self, verifier: str | None, secret: str) -> bool:
        """Return True if a password matches its hash; without a hash, False after the same time."""
        loop = asyncio.get_running_loop()
        fits = await loop.run_in_executor(
            self._threads, self._verify, verifier or self._dummy, comparable(secret)
        )
        return fits and verifier is not None

    def mac(self, secret: str) -> str:
        """Return a keyed hash of a key of at least 128 random bits, to be stored."""
        return self.macs(secret)[0]

    def macs(self, secret: str) -> list[str]:
        """Return its keyed hashes: what is stored is the first, or was with a former service key."""
        return self._hashes.hashes(secret)

    def equal_macs(self, mac: str) -> list[str]:
        """Return the keyed hashes of the secret of a stored one; that alone if its key is not listed."""
        try:
            return self._hashes.renew_hash(mac)
        except ValueError:
            return [mac]

    def encrypt(self, secret: str, place: str) -> str:
        """Encrypt a secret that must be readable later, bound to one place."""
        return b64encode(self._boxes.encrypt(secret.encode(), place)).decode()

    def decrypt(self, box: str, place: str) -> str:
        """Decrypt a secret. Raises ``ValueError`` if it was encrypted for another place or with another key."""
        return self._boxes.decrypt(b64decode(box), place).decode()

    def renew(self, verifier: str, place: str) -> str:
        """Return a keyed hash or an encrypted secret as the current key makes it. Raises ``ValueError``."""
        if ":" in verifier:
            return self._hashes.renew_hash(verifier)[0]
        return self.encrypt(self.decrypt(verifier, place), place)

    def close(self) -> None:
        """End the threads when they are idle."""
        self._threads.shutdown(wait=False)

    def _verify(self, verifier: str, secret: str) -> bool:
        try:
            return self._hasher.verify(verifier, secret)
        except (Argon2Error, InvalidHashError):
            return False
