"""The guard of every secret that may be guessed (contract access_tokens.md, section 9).

Tries are counted by secret and source, by secret over all sources that have never succeeded with it,
and by source over all secrets. The counters stand in the database, so that all processes are one
guard. A try that comes too soon gets the refusal of a wrong one, which says how long to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from typing import Any

from domain.errors import Refusal
from domain.reference.fields import GUESS_LIMITS
from services.pipeline.principal import current_principal
from services.ports import GuessCounter, GuessLimits, Hasher, SecretStore

__all__ = ["Guesser", "SecretGuard", "guess_limits", "never_gone", "source_of"]

ALL_SECRETS = ""
ALL_SOURCES = ""
NOBODY = "nobody"
"""The owner of secrets that no entity has."""


def source_of(address: str) -> str:
    """Return what limits count by: a network address, of IPv6 the network of 64 bits that one customer is given."""
    with suppress(ValueError):
        return str(IPv6Network((int(IPv6Address(address)), 128)).supernet(new_prefix=64))
    return address


def never_gone() -> bool:
    """Return False: a caller that cannot hang up."""
    return False


def guess_limits(settings: Mapping[str, Any]) -> GuessLimits:
    """Return the limits of an organisation with these settings, or of none."""
    limits = GUESS_LIMITS | (settings.get("guess_limits") or {})
    return GuessLimits(
        per_source=limits["attempts_per_source"],
        per_secret=limits["attempts_per_token"],
        per_spray=limits["attempts_per_spray"],
        first_wait=limits["first_wait_seconds"],
        longest_wait=limits["longest_wait_seconds"],
    )


@dataclass(frozen=True, slots=True)
class Guesser:
    """The caller of a try: its organisation (the id; empty for none), its limits and its source.

    ``is_gone`` tells whether the caller has hung up.
    """

    organisation: str
    limits: GuessLimits
    source: str
    is_gone: Callable[[], bool] = never_gone


class SecretGuard:
    """Counts tries of secrets, and lets slow comparisons wait for their turn."""

    def __init__(self, store: SecretStore, hasher: Hasher) -> None:
        self._store = store
        self._hasher = hasher

    def unknown(self, name: str) -> str:
        """Return the owner that stands for a name that nobody has: a keyed hash, for the name may be a secret."""
        return f"{NOBODY}/{self._hasher.mac(name)}"

    async def judge(
        self,
        guesser: Guesser,
        secret: str | None,
        wrong: Refusal,
        *,
        fits: bool,
        shared: str | None = None,
    ) -> None:
        """Count a try whose result is known here and told to nobody yet. Raises ``wrong`` if it does not
        fit, or comes too soon.

        :param secret: ``owner/name``; None if what was shown names no entity, or would do so only by
            being right. A source that is known for it waits for no other counter, so it must not be
            found by trying: another name says what is tried, or it has 128 random bits.
        :param shared: the name of all such secrets, if tries of any of them count together for a source.
        """
        await self._count(guesser, self._counters(guesser, secret, shared), wrong, fits=fits)
        if not fits:
            raise wrong

    async def verify(
        self, guesser: Guesser, secret: str, verifier: str | None, shown: str, wrong: Refusal
    ) -> None:
        """Compare with a slow hash when its turn comes, and count the try before.

        :param secret: ``owner/name``; without a verifier it is compared in vain, as slowly.
        Raises ``wrong``, `TooManyRequests` beyond the source's share.
        """
        counters = self._counters(guesser, secret)
        async with self._hasher.turn(guesser.source, secret, guesser.is_gone):
            await self._count(guesser, counters, wrong, fits=None)
            if not await self._hasher.verify(verifier, shown):
                raise wrong
            await self._store.forgive_guesses(guesser.organisation, counters)
        self._hasher.note_success(guesser.source)

    async def _count(
        self, guesser: Guesser, counters: list[GuessCounter], wrong: Refusal, *, fits: bool | None
    ) -> None:
        """Count a try. Raises ``wrong``, which says how long to wait, if it comes too soon."""
        wait = await self._store.count_guess(
            guesser.organisation, counters, guesser.limits, fits=fits
        )
        if wait:
            current_principal().is_limited = True
            raise wrong.after(wait)

    def _counters(
        self, guesser: Guesser, secret: str | None, shared: str | None = None
    ) -> list[GuessCounter]:
        """Return the counters of a try; the first is that of the secret and the source."""
        limits = guesser.limits
        # A keyed hash, for it holds a network address.
        source = self._hasher.mac(f"source/{guesser.source}")
        counters = [GuessCounter(secret, source, limits.per_source)]
        if secret is not None:
            counters.append(GuessCounter(secret, ALL_SOURCES, limits.per_secret))
        counters.append(GuessCounter(ALL_SECRETS, source, limits.per_spray))
        if shared is not None:
            counters.append(GuessCounter(shared, source, limits.per_source))
        return counters
