"""What this process has refused lately, by organisation and code, for the console.

Metrics count refusals, too, but never say whose: an operator must not see other organisations'.
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
"""Refusals of one organisation, and organisations, that are remembered."""


class Refusals:
    """Remembers refusals for a day; the oldest are forgotten first where there are too many."""

    def __init__(self, tokens: Tokens) -> None:
        """:param tokens: say whose a refused call was."""
        self._tokens = tokens
        self._since = time.monotonic()
        self._noted: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()

    def note(self, token: object, code: str) -> None:
        """Remembers that a call was refused, if its token says of which organisation it was.

        :param token: as it was sent, several where a query names it several times.
        """
        shown = token[-1] if isinstance(token, list) and token else token
        try:
            organisation = self._tokens.verify(shown).organisation
        except InvalidToken:
            return
        noted = self._noted.setdefault(organisation, deque(maxlen=EACH))
        noted.append((time.monotonic(), code))
        self._noted.move_to_end(organisation)
        if len(self._noted) > ORGANISATIONS:
            self._noted.popitem(last=False)

    def recent(self, organisation: str) -> list[tuple[str, int]]:
        """Codes and how often each was said in the last day, the most frequent first."""
        since = time.monotonic() - SECONDS
        noted = self._noted.get(organisation, ())
        return Counter(code for at, code in noted if at >= since).most_common()

    @property
    def seconds(self) -> float:
        """For how long it has been remembering."""
        return min(time.monotonic() - self._since, SECONDS)
