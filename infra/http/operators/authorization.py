"""The operator key, which every call of the operators' methods carries as a bearer token."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from domain.errors import InvalidToken
from infra.encryption import key_id
from infra.http.router import Exchange
from services.pipeline.guard import Guesser, SecretGuard, guess_limits, source_of
from services.pipeline.principal import current_principal

__all__ = ["OperatorGate", "act_source"]

KEY = "operator_key"


class OperatorGate:
    """Lets in whoever has one of the operator keys; tries of others are counted by source."""

    def __init__(self, keys: Sequence[str], guard: SecretGuard) -> None:
        self._keys = {key_id(key): key.encode() for key in keys}
        self._guard = guard

    async def check(self, exchange: Exchange) -> None:
        """Check that a call carries an operator key as a bearer token. Raises `InvalidToken` (401)."""
        headers = exchange.request.headers
        scheme, _, credentials = headers.get("Authorization", "").strip().partition(" ")
        token = credentials.strip().encode("utf-8", "surrogateescape")
        # Each key is looked at, whichever fits.
        fitting = [id_ for id_, key in self._keys.items() if hmac.compare_digest(token, key)]
        fits = bool(fitting)
        wrong = InvalidToken()
        try:
            if scheme.lower() != "bearer" or not token:
                raise wrong
            source = source_of(exchange.caller.address)
            guesser = Guesser("", guess_limits({}), source, exchange.is_gone)
            secret = f"operator/{KEY}" if fits else None
            await self._guard.judge(guesser, secret, wrong, fits=fits, shared=KEY)
            current_principal().operator = fitting[0]
        except InvalidToken:
            exchange.status = 401
            raise


def act_source(exchange: Exchange) -> str:
    """Return what the events of an operator's act say of where it came from: key, address and request."""
    key = current_principal().operator
    return f"operator key {key} from {exchange.caller.address}, request {exchange.request_id}"
