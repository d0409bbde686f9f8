"""The rules by which entries of a contact's sets exclude each other (contact_information.md, 4.6, 7)."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from domain.errors import DuplicateEntity, InvalidParameterValue
from domain.fields import JsonObject

__all__ = ["check_entry"]

Entry = JsonObject

UNIQUE = {"address_set": ("type", "state"), "relation_set": ("type", "contact_information")}
"""The members that no two entries of a set share, by set."""


def check_entry(
    contact: UUID, set_name: str, entries: Iterable[Entry], entry: Entry, path: str
) -> None:
    """Refuses an entry that another one of its set excludes.

    Raises `DuplicateEntity` for a second active address of a type or a relation of the same type to
    the same contact, and `InvalidParameterValue` for a relation to the contact itself
    (contact_information.md, section 4.6). Phones and e-mails may repeat.
    """
    if entry.get("contact_information") == contact.hex.upper():
        raise InvalidParameterValue(f"{path}.contact_information_identifier")
    key = UNIQUE.get(set_name)
    others = (other for other in entries if other["id"] != entry["id"])
    if key and any(all(other.get(k) == entry.get(k) for k in key) for other in others):
        raise DuplicateEntity(f"{path}.type")
