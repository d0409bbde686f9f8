"""Expansion of stored documents: every embedded object in its present state, and no decoding.

A stored document holds ``{"$ref":"kind/id"}`` where an answer shows another entity's compact
object, and ``{"$name":["First Last","Last First"]}`` where the organisation's setting decides
which name is shown. Quotes inside JSON texts are escaped, so neither can be part of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["ReferenceExpander", "references"]

_PLACE = re.compile(rb'\{"\$(?:ref":"([^"]+)"|name":\[("(?:[^"\\]|\\.)*"),("(?:[^"\\]|\\.)*")\])\}')
_PLACE_PREFIX = b'{"$'
_REFERENCE = re.compile(r'\{"\$ref":"([^"]+)"\}')


def references(document: bytes) -> tuple[str, ...]:
    """Return the entities that a document shows, as ``kind/id``, each once."""
    return tuple(dict.fromkeys(_REFERENCE.findall(document.decode())))


class ReferenceExpander:
    """Replaces the placeholders of stored documents by compact objects.

    ``compacts`` holds stored compact objects by ``kind/id``, ``directory`` finds those of the
    organisation's set-up, already expanded; an entity found in neither is shown as null.
    ``last_name_first`` is the organisation's ``name_display``.
    """

    def __init__(
        self,
        compacts: Mapping[str, bytes],
        directory: Callable[[str], bytes | None],
        *,
        last_name_first: bool,
    ) -> None:
        self._stored = compacts
        self._directory = directory
        self._name = 3 if last_name_first else 2
        self._expanded: dict[bytes, bytes] = {}

    def expand(self, document: bytes) -> bytes:
        """Return the document as a caller sees it."""
        return _PLACE.sub(self._expand_place, document)

    def compact(self, ref: str) -> bytes:
        """Return the compact object of one entity, itself expanded."""
        stored = self._stored.get(ref)
        if stored is None:
            return self._directory(ref) or b"null"
        return self.expand(stored) if _PLACE_PREFIX in stored else stored

    def _expand_place(self, place: re.Match[bytes]) -> bytes:
        ref = place[1]
        if ref is None:
            return place[self._name]
        compact = self._expanded.get(ref)
        if compact is None:
            compact = self._expanded[ref] = self.compact(ref.decode())
        return compact
