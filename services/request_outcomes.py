"""What became of a call: whoever lost its answer asks by its idempotency key.

Only the caller is told: the same user of the same organisation, and the same customer's account in
a consumer session. To anybody else a key that is in use looks like one that never was, which is
true for them: a call of theirs with that key is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import orjson

from domain.fields import JsonObject
from services.pipeline.dispatcher import Dispatcher
from services.pipeline.idempotency import key_owner

__all__ = [
    "COMMITTED",
    "NOT_COMMITTED",
    "RETENTION",
    "Outcomes",
    "RequestOutcome",
    "RequestOutcomes",
]

COMMITTED, NOT_COMMITTED = "COMMITTED", "NOT_COMMITTED"
RETENTION = timedelta(days=7)
"""How long it is known that a call was written; what is older is not spoken of."""


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """What is known of an idempotency key at the moment ``now``.

    ``position`` and ``recorded_at`` are those of the call that was written with it, None if none
    was; ``data`` its answer while that is kept; ``revoked`` whether none ever will be.
    """

    now: datetime
    position: int | None = None
    recorded_at: datetime | None = None
    data: bytes | None = None
    revoked: bool = False


class Outcomes(Protocol):
    """What the ledger knows of keys. Raises `ServiceUnavailable` when it cannot answer."""

    async def outcome(self, organisation: str, caller: str, key: str) -> RequestOutcome:
        """What became of the call that a caller made with a key."""

    async def revoke_key(self, organisation: str, caller: str, key: str) -> None:
        """Forbids a key to its caller for ever, unless a call with it was written."""


class RequestOutcomes:
    """Answers for the idempotency keys of a session's user.

    Each method raises `InvalidToken`, `TokenExpired` and `TooManyRequests`.
    """

    def __init__(self, outcomes: Outcomes, runner: Dispatcher) -> None:
        self._outcomes = outcomes
        self._runner = runner

    async def ask(self, token: object, key: str) -> JsonObject:
        """What is known of a key now. A call that is still on its way may yet be written."""
        found = await self._runner.session(token)
        caller = key_owner(found.session)
        return _said(key, await self._outcomes.outcome(found.organisation, caller, key))

    async def revoke(self, token: object, key: str) -> JsonObject:
        """The same for good: a call with the key that was not written never will be."""
        found = await self._runner.session(token)
        caller = key_owner(found.session)
        await self._outcomes.revoke_key(found.organisation, caller, key)
        return _said(key, await self._outcomes.outcome(found.organisation, caller, key))


def _said(key: str, outcome: RequestOutcome) -> JsonObject:
    known = outcome.now - RETENTION
    committed = outcome.recorded_at is not None and outcome.recorded_at > known
    return {
        "key": key,
        "outcome": COMMITTED if committed else NOT_COMMITTED,
        "final": committed or outcome.revoked,
        "since": known,
        "position": outcome.position if committed else None,
        "recorded_at": outcome.recorded_at if committed else None,
        "answer": orjson.Fragment(outcome.data) if outcome.data is not None else None,
    }
