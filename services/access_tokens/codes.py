"""Random codes, all from a cryptographic generator (access_tokens.md, section 4)."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from random import SystemRandom

__all__ = ["authentication_code", "digits", "random_text"]

_SORTS = {"letters": string.ascii_uppercase, "digits": string.digits, "special": "!#$%*+-=?@_"}
_random = SystemRandom()


def authentication_code() -> str:
    """A random authentication code: 32 upper-case hex digits."""
    return secrets.token_hex(16).upper()


def digits(length: int) -> str:
    """``length`` random digits; the first may be 0."""
    return "".join(secrets.choice(string.digits) for _ in range(length))


def random_text(minimum: Mapping[str, int], *, length: int, alphabet: str = string.digits) -> str:
    """A random text with at least ``minimum`` characters of each sort, in random order.

    :param length: the minimum length; characters of ``alphabet`` fill the text up to it.
    """
    characters = [
        secrets.choice(letters) for sort, letters in _SORTS.items() for _ in range(minimum[sort])
    ]
    missing = max(length, minimum["length"]) - len(characters)
    characters += [secrets.choice(alphabet) for _ in range(missing)]
    _random.shuffle(characters)
    return "".join(characters)
