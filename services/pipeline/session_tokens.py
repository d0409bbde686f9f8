"""Session tokens: JWTs signed with HS256 (contract authentication.md, section 2)."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import jwt
from jwt.types import Options

from domain.errors import InvalidToken
from domain.fields import JsonObject
from services.context import ConsumerScope

__all__ = ["LIFETIME", "Claims", "Tokens"]

CACHED_TOKENS = 4096
"""The number of tokens whose claims a process caches."""

LIFETIME = 7200
"""Seconds from issue to expiry, used or not."""

_SESSION_ID = re.compile(r"[0-9A-F]{32}")
_UNREADABLE = (KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""Further errors of reading a token: its header may be any JSON, of any depth."""

_WITHOUT_TIMES: Options = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_jti": False,
}


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token: session id, organisation name, expiry in seconds since 1970 UTC.

    ``customer`` is whose data a consumer session sees.
    """

    session: str
    organisation: str
    expires_at: int
    customer: ConsumerScope | None = None


class Tokens:
    """Issues tokens with one secret (a text of at least 32 bytes), and accepts those of its fallbacks, too."""

    def __init__(self, secret: str, *fallbacks: str) -> None:
        self._secrets = (secret, *fallbacks)
        # A signature stays good; expiry and release are looked at in every call.
        self._claims = lru_cache(maxsize=CACHED_TOKENS)(self._read)

    def issue(
        self,
        session: str,
        user: str,
        organisation: str,
        unit: str,
        now: datetime,
        customer: ConsumerScope | None = None,
    ) -> str:
        """Return a token for a session: its id, the username, the organisation's name, the unit's id."""
        issued = int(now.timestamp())
        claims: JsonObject = {
            "jti": session,
            "usr": user,
            "org": organisation,
            "oun": unit,
            "iat": issued,
            "exp": issued + LIFETIME,
        }
        if customer is not None:
            claims |= {"cii": customer.contact, "acr": customer.account}
        return jwt.encode(claims, self._secrets[0], algorithm="HS256")

    def verify(self, token: object) -> Claims:
        """Return the claims of a well-signed token, expired or not. Raises `InvalidToken`.

        Blanks around it do not count: the published command for photos ends with one that no shell drops.
        """
        if not isinstance(token, str) or token.count(".") != 2 or len(token) > 4096:
            raise InvalidToken
        return self._claims(token.strip())

    def _read(self, token: str) -> Claims:
        read: list[Claims] = []
        for secret in self._secrets:
            # Each is tried, so that the time does not tell which one fits.
            with suppress(jwt.InvalidTokenError, *_UNREADABLE):
                claims = jwt.decode(token, secret, algorithms=["HS256"], options=_WITHOUT_TIMES)
                read.append(_read_claims(claims))
        if not read:
            raise InvalidToken
        return read[0]


def _read_claims(claims: dict[str, Any]) -> Claims:
    """Return complete claims; published tokens carry the times as texts, so both forms are read.

    Raises ``ValueError``, and what `_UNREADABLE` lists.
    """
    texts = [claims[name] for name in ("jti", "usr", "org", "oun")]
    int(claims["iat"])
    customer_claims = [claims[name] for name in ("cii", "acr") if name in claims]
    if not all(isinstance(text, str) for text in (*texts, *customer_claims)):
        raise ValueError("claims")
    if not _SESSION_ID.fullmatch(texts[0]) or len(customer_claims) == 1:
        raise ValueError("claims")
    customer = ConsumerScope(*customer_claims) if customer_claims else None
    return Claims(texts[0], texts[2], int(claims["exp"]), customer)
