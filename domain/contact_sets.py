"""The rules by which entries of a contact's sets exclude each other (contact_information.md, 4.6, 7)."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from domain.errors import DuplicateEntity, InvalidParameterValue
from domain.fields import JsonObject

__all__ = ["check_entry"]

Entry = JsonObject


def check_entry(
    contact: UUID, set_name: str, entries: Iterable[Entry], entry: Entry, path: str
) -> None:
    """Refuses an entry that another one of its set excludes.

    Raises `DuplicateEntity` for a second active entry of a type or a relation of the same type to
    the same contact, and `InvalidParameterValue` for a relation to the contact itself
    (contact_information.md, sections 4.6 and 7).
    """
    if entry.get("contact_information") == contact.hex.upper():
        raise InvalidParameterValue(f"{path}.contact_information_identifier")
    key = ("type", "contact_information") if set_name == "relation_set" else ("type", "state")
    others = (other for other in entries if other["id"] != entry["id"])
    if any(all(other.get(k) == entry.get(k) for k in key) for other in others):
        raise DuplicateEntity(f"{path}.type")
