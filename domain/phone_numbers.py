"""Phone numbers as people write them: their digits, and how they are dialled and compared.

Contract: contact_information.md, sections 4.4 and 5.
"""

from __future__ import annotations

import re

__all__ = ["MAX_NUMBER", "area_code", "full_number", "phone_number", "search_key"]

MAX_NUMBER = 64
"""The length of a number in characters."""

MIN_DIGITS = 3
_EXTENSION = re.compile("ext|x|#", re.IGNORECASE)
_PLUS = re.compile(r"[^\d+]*\+")


def phone_number(text: str) -> str | None:
    """``text`` if it has at least 3 digits, else None."""
    return text if len(_digits(text)) >= MIN_DIGITS else None


def area_code(text: str) -> str | None:
    """``text`` without the ``+`` or ``00`` of an international number; None if nothing is left."""
    return text.removeprefix("+").removeprefix("00").strip() or None


def full_number(area_code: str | None, number: str) -> str:
    """The number as it is dialled from abroad; its own digits if no area code is known."""
    dialled, area = _dialled(number), _digits(area_code or "")
    if _PLUS.match(number) or dialled.startswith("00"):
        return f"00{dialled.removeprefix('00')}"
    return f"00{area}{dialled}" if area else dialled


def search_key(number: str) -> str:
    """The digits by which a number or a full number is found; ``+`` and ``00`` are the same."""
    return _dialled(number).removeprefix("00")


def _dialled(number: str) -> str:
    """The digits of a number without its extension, of which a number is more than the beginning."""
    before_extension = _digits(_EXTENSION.split(number, 1)[0])
    return before_extension if len(before_extension) >= MIN_DIGITS else _digits(number)


def _digits(text: str) -> str:
    """The decimal digits of any script as those of ASCII."""
    return "".join(str(int(character)) for character in text if character.isdecimal())
