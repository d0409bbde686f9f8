"""HTML content of e-mails: inserted values are data in it, and readers without HTML get a text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape, unescape

__all__ = ["escape_values", "text_alternative"]

UNSEEN = re.compile(
    r"<!--.*?(?:-->|\Z)|<(head|script|style|title)\b.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
TAG = re.compile(r"(</?[A-Za-z][^<>]*>)")
LINK = re.compile(r"""<a\s(?:.*\s)?href\s*=\s*["']([^"']*)""", re.DOTALL | re.IGNORECASE)
BREAK = re.compile(r"</?(?:blockquote|br|div|h[1-6]|hr|li|ol|p|table|tr|ul)\b", re.IGNORECASE)


def escape_values(content: str, values: Iterable[Sequence[int]]) -> str:
    """Return HTML content whose inserted values, from offset to offset, are shown as they are."""
    pieces, at = [], 0
    for start, end in values:
        pieces += [content[at:start], escape(content[start:end])]
        at = end
    return "".join([*pieces, content[at:]])


def text_alternative(html: str) -> str:
    """Return what HTML content says: its text, with the addresses of links, without elements."""
    pieces, address = [], ""
    for n, piece in enumerate(TAG.split(re.sub(r"\s+", " ", UNSEEN.sub("", html)))):
        if n % 2 == 0:
            pieces.append(unescape(piece))
        elif link := LINK.match(piece):
            address = unescape(link[1])
        elif piece[:3].lower() == "</a":
            is_shown = address in (pieces[-1], f"mailto:{pieces[-1]}")
            pieces.append("" if is_shown or not address else f" ({address})")
            address = ""
        elif BREAK.match(piece):
            pieces.append("\n")
    lines = (line.strip() for line in "".join(pieces).splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
