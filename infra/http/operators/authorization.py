"""The operator key, which every call of the operators' methods carries as a bearer token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from domain.errors import InvalidToken
from infra.http.router import Exchange
from services.pipeline.guard import Guesser, SecretGuard, guess_limits, source_of

__all__ = ["OperatorGate"]

KEY = "operator_key"


class OperatorGate:
    """Lets in whoever has one of the operator keys; tries of others are counted by source."""

    def __init__(self, keys: Sequence[str], guard: SecretGuard) -> None:
        self._keys = [key.encode() for key in keys]
        self._guard = guard

    async def check(self, exchange: Exchange) -> None:
        """Check that a call carries an operator key as a bearer token. Raises `InvalidToken` (401)."""
        headers = exchange.request.headers
        scheme, _, credentials = headers.get("Authorization", "").strip().partition(" ")
        token = credentials.strip().encode("utf-8", "surrogateescape")
        # A sum looks at each key, whichever fits.
        fits = sum(hmac.compare_digest(token, key) for key in self._keys) > 0
        wrong = InvalidToken()
        try:
            if scheme.lower() != "bearer" or not token:
                raise wrong
            source = source_of(exchange.caller.address)
            guesser = Guesser("", guess_limits({}), source, exchange.is_gone)
            secret = f"operator/{KEY}" if fits else None
            await self._guard.judge(guesser, secret, wrong, fits=fits, shared=KEY)
        except InvalidToken:
            exchange.status = 401
            raise
