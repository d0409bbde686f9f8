"""Passwords and keys that are refused when they are registered (contract reference_entities.md, section 3.10)."""

from __future__ import annotations

from functools import cache

from domain.errors import InvalidParameterValue

__all__ = ["check_key", "check_password"]

SHORTEST, LONGEST = 8, 1024
"""Characters of a password."""
FEWEST_DIGITS = 4
"""Different hexadecimal digits of a web API key; random ones have 14."""


def check_password(password: str, username: str) -> None:
    """Raise `InvalidParameterValue` for a password that is too short or long, common, or the user's name."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidParameterValue(f"password: {SHORTEST} to {LONGEST:,} characters")
    if password.casefold() == username.strip().casefold():
        raise InvalidParameterValue("password: not the username")
    if password.casefold() in _common_passwords():
        raise InvalidParameterValue("password: not one of the commonly used")


def check_key(key: str) -> None:
    """Raise `InvalidParameterValue` for a web API key whose digits are nearly all alike."""
    if len(set(key)) < FEWEST_DIGITS:
        raise InvalidParameterValue(f"key: at least {FEWEST_DIGITS} different digits")


@cache
def _common_passwords() -> frozenset[str]:
    # Loaded when a password is registered, which is seldom: it takes some tens of milliseconds.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS  # noqa: PLC0415

    return frozenset(FREQUENCY_LISTS["passwords"])
