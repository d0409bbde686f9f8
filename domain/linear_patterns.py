"""Regular expressions of operators, matched in time linear to the text, whatever they are.

Python's own engine goes back and tries again, for hours with a pattern such as ``(a+)+$``. That of Rust, which
pydantic brings along, does not; in return it knows no look-around and no back references.
"""

from __future__ import annotations

from pydantic_core import SchemaError, SchemaValidator, core_schema

__all__ = ["LinearPattern"]

LONGEST = 1_000
"""Characters of a pattern."""


class LinearPattern:
    """A pattern that is searched for in texts. Raises ``ValueError`` for one that is malformed or too long."""

    def __init__(self, pattern: str) -> None:
        if len(pattern) > LONGEST:
            raise ValueError(f"a pattern has at most {LONGEST} characters")
        schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        try:
            self._validator = SchemaValidator(schema)
        except SchemaError as error:
            raise ValueError("the pattern is malformed") from error

    def occurs_in(self, text: str) -> bool:
        """Return True if some part of a text matches."""
        return self._validator.isinstance_python(text)
