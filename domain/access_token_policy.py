"""The policy of access tokens: rules for identifiers and pass codes (access_tokens.md, section 3).

A token with a classification follows only that one's settings, one without the organisation's
active definition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from domain.contact_fields import email_address

__all__ = ["TokenSettings", "count_characters"]

_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]*")

FORMATS: Mapping[str, Callable[[str], bool]] = {
    "EMAIL": lambda text: email_address(text) is not None,
    "NUMBER": lambda text: text.isascii() and text.isdigit(),
    "PHONE": lambda text: _PHONE.fullmatch(text) is not None,
    "FREE_TEXT": bool,
}


def count_characters(text: str) -> dict[str, int]:
    """The number of characters of each sort in a text; a blank counts for the length only."""
    return {
        "length": len(text),
        "letters": sum(map(str.isalpha, text)),
        "digits": sum(map(str.isdigit, text)),
        "special": sum(not (c.isalnum() or c.isspace()) for c in text),
    }


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """The settings that an access token follows."""

    values: Mapping[str, Any]

    @classmethod
    def for_token(
        cls, classification: Mapping[str, Any] | None, organisation: Mapping[str, Any]
    ) -> TokenSettings:
        """The settings of a classification if there is one, else those of the organisation."""
        if classification is None:
            return cls(organisation["access_token_definition"])
        return cls(classification)

    def is_generated(self, name: str) -> bool:
        """True if the service generates ``identifier``, ``pass_code`` or ``authentication_code``."""
        return bool(self.values[f"{name}_creation"] != "NONE")

    def minimum_characters(self, name: str) -> dict[str, int]:
        """The characters of each sort that an ``identifier`` or a ``pass_code`` must have."""
        return {sort: self.values[f"{name}_min_{sort}"] or 0 for sort in count_characters("")}

    def allows(self, name: str, text: str) -> bool:
        """True if a caller may choose ``text`` as ``identifier`` or ``pass_code``."""
        counts = count_characters(text)
        if not text.strip() or any(
            counts[sort] < minimum for sort, minimum in self.minimum_characters(name).items()
        ):
            return False
        formatted = name == "identifier" and not self.is_generated(name)
        return not formatted or FORMATS[self.values["identifier_format"]](text.strip())

    @property
    def needs_identifier(self) -> bool:
        """True if a token must have an identifier that somebody chose."""
        return not (self.values["allow_no_identifier"] or self.is_generated("identifier"))

    @property
    def disable_when_unrelated(self) -> bool:
        """True if a token is disabled when the last entity that it is related to is retired."""
        return bool(self.values["not_effective_when_unrelated"])

    @property
    def is_verified(self) -> bool:
        """True if new tokens wait until their verification code is shown."""
        return bool(self.values["generate_verification_code"])
