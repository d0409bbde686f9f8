"""The outcome of a call by its idempotency key, for callers that have lost the answer.

It is shown to the caller only: the same user of the same organisation, and the same customer's
account in a consumer session. To anybody else a key in use looks unused, which is true for them: a
call of theirs with that key is refused.
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
"""The time for which outcomes are reported; older ones are treated as unknown."""


@dataclass(frozen=True, slots=True)
class RequestOutcome:
    """The state of an idempotency key at the moment ``now``.

    ``position`` and ``recorded_at`` are those of the call that was written with it, None if none
    was; ``data`` is its answer while that is kept; ``revoked`` is True if the key was revoked.
    """

    now: datetime
    position: int | None = None
    recorded_at: datetime | None = None
    data: bytes | None = None
    revoked: bool = False


class Outcomes(Protocol):
    """The idempotency keys of the ledger. Raises `ServiceUnavailable` when it cannot answer."""

    async def outcome(self, organisation: str, caller: str, key: str) -> RequestOutcome:
        """Return the outcome of the call that a caller made with a key."""

    async def revoke_key(self, organisation: str, caller: str, key: str) -> None:
        """Revoke a key for its caller, unless a call with it was written. Raises `TooManyRequests`."""


class RequestOutcomes:
    """Answers for the idempotency keys of a session's user.

    Each method raises `InvalidToken`, `TokenExpired` and `TooManyRequests`.
    """

    def __init__(self, outcomes: Outcomes, dispatcher: Dispatcher) -> None:
        self._outcomes = outcomes
        self._dispatcher = dispatcher

    async def ask(self, token: object, key: str) -> JsonObject:
        """Return the outcome of a key now. A call still in flight may yet be written."""
        authenticated = await self._dispatcher.session(token)
        caller = key_owner(authenticated.session)
        return _outcome_document(
            key, await self._outcomes.outcome(authenticated.organisation, caller, key)
        )

    async def revoke(self, token: object, key: str) -> JsonObject:
        """Return the final outcome: a call with the key that was not written never will be."""
        authenticated = await self._dispatcher.session(token)
        caller = key_owner(authenticated.session)
        await self._outcomes.revoke_key(authenticated.organisation, caller, key)
        return _outcome_document(
            key, await self._outcomes.outcome(authenticated.organisation, caller, key)
        )


def _outcome_document(key: str, outcome: RequestOutcome) -> JsonObject:
    since = outcome.now - RETENTION
    committed = outcome.recorded_at is not None and outcome.recorded_at > since
    return {
        "key": key,
        "outcome": COMMITTED if committed else NOT_COMMITTED,
        "final": committed or outcome.revoked,
        "since": since,
        "position": outcome.position if committed else None,
        "recorded_at": outcome.recorded_at if committed else None,
        "answer": orjson.Fragment(outcome.data) if outcome.data is not None else None,
    }
