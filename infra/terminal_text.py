"""Text for terminals, where everything is data (CWE-150).

A terminal obeys control characters, and a reader is misled by text that changes its direction or begins
another line. Such characters are shown as they are written in Python, such as ``\\x1b``.
"""

from __future__ import annotations

import re

__all__ = ["visible", "visible_json", "visible_lines"]

CONTROLS = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f"  # C0, DEL and C1
    "\\u061c\\u200b\\u200e\\u200f\\u202a-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"  # direction, invisible
    "\\u2028\\u2029"  # separators of lines and paragraphs
    "\\ud800-\\udfff]"  # halves of pairs, which no encoding has
)


def visible(text: str) -> str:
    """Return a text on one line, with its control characters made visible."""
    return CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def visible_lines(text: str) -> str:
    """As `visible`, line by line."""
    return "\n".join(map(visible, text.split("\n")))


def visible_json(document: str) -> str:
    """Return the same JSON, with the control characters in its texts as escapes of JSON."""
    lines = document.split("\n")
    return "\n".join(CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in lines)
