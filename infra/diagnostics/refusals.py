"""The recent refusals of this process, by organisation and code, for the console.

Metrics count refusals, too, but not by organisation: an operator must not see those of others.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict, deque

from domain.errors import InvalidToken
from services.pipeline.session_tokens import Tokens

__all__ = ["Refusals"]

SECONDS = 86_400.0
"""How long a refusal is remembered."""
EACH, ORGANISATIONS = 5_000, 1_000
"""The most refusals of one organisation, and organisations, that are remembered."""


class Refusals:
    """Remembers refusals for a day, and the newest ones where there are too many."""

    def __init__(self, tokens: Tokens) -> None:
        """:param tokens: verify tokens, to find the organisation of a refused call."""
        self._tokens = tokens
        self._since = time.monotonic()
        self._recorded: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()

    def note(self, token: object, code: str) -> None:
        """Record the refusal of a call, if its token names the organisation.

        :param token: as it was sent; a list if a query names it several times.
        """
        last = token[-1] if isinstance(token, list) and token else token
        try:
            organisation = self._tokens.verify(last).organisation
        except InvalidToken:
            return
        recorded = self._recorded.setdefault(organisation, deque(maxlen=EACH))
        recorded.append((time.monotonic(), code))
        self._recorded.move_to_end(organisation)
        if len(self._recorded) > ORGANISATIONS:
            self._recorded.popitem(last=False)

    def recent(self, organisation: str) -> list[tuple[str, int]]:
        """Codes of the last day with their counts, the most frequent first."""
        since = time.monotonic() - SECONDS
        recorded = self._recorded.get(organisation, ())
        return Counter(code for at, code in recorded if at >= since).most_common()

    @property
    def seconds(self) -> float:
        """The period that `recent` covers, at most a day."""
        return min(time.monotonic() - self._since, SECONDS)
