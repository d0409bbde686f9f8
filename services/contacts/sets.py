"""Addresses, phones, emails and relations of a contact (contract contact_information.md, 4 and 7)."""

from __future__ import annotations

from uuid import UUID

from domain.contact_fields import SETS
from domain.contact_information import ContactInformation
from domain.contact_sets import check_entry
from domain.fields import JsonObject
from domain.phone_numbers import full_number
from services.pipeline.request import Call

__all__ = ["apply_items", "first_entries"]

_OF_A_NUMBER = ("country", "area_code", "number")


def first_entries(call: Call, contact: UUID, params: JsonObject) -> dict[str, list[JsonObject]]:
    """The entries of a new contact by set. Raises what `check_entry` does."""
    sets: dict[str, list[JsonObject]] = {}
    for set_name in SETS:
        entries: list[JsonObject] = []
        for n, item in enumerate(params.get(set_name) or ()):
            entry = _entry(call, set_name, item)
            check_entry(contact, set_name, entries, entry, f"{set_name}[{n}]")
            entries.append(entry)
        if entries:
            sets[set_name] = entries
    return sets


def apply_items(contact: ContactInformation, call: Call) -> None:
    """Adds, changes and removes entries in the order in which they are given."""
    for set_name in SETS:
        for n, item in enumerate(call.params.get(set_name) or ()):
            path = f"{set_name}[{n}]"
            if item["action"] == "ADD":
                contact.add_entry(set_name, _entry(call, set_name, item), call.actor, path)
                continue
            entry = contact.entry(set_name, item["identifier"])
            if item["action"] == "REMOVE":
                contact.remove_entry(set_name, entry, call.actor)
            else:
                changes = _changes(call, set_name, entry, item)
                contact.change_entry(set_name, entry, changes, call.actor, path)


def _entry(call: Call, set_name: str, item: JsonObject) -> JsonObject:
    """A complete new entry: active, in the default country, with its full number."""
    values = {k: v for k, v in item.items() if k != "action" and v is not None}
    entry: JsonObject = {"id": call.new_id_text()} | values
    if set_name != "relation_set":
        entry["state"] = "Active"
    if set_name in ("address_set", "phone_set"):
        entry.setdefault("country", _default_country(call))
    if set_name == "phone_set":
        entry.setdefault("area_code", _dialing_code(call, entry["country"]))
        entry["full_number"] = full_number(entry["area_code"], entry["number"])
    return entry


def _changes(call: Call, set_name: str, entry: JsonObject, item: JsonObject) -> JsonObject:
    changes = {k: v for k, v in item.items() if k not in ("action", "identifier")}
    if set_name == "phone_set" and any(name in changes for name in _OF_A_NUMBER):
        if changes.get("country", entry.get("country")) != entry.get("country"):
            changes.setdefault("area_code", _dialing_code(call, changes["country"]))
        changed = entry | changes
        changes["full_number"] = full_number(changed.get("area_code"), changed["number"])
    return changes


def _default_country(call: Call) -> str | None:
    """The organisation's default country, if it is registered (section 10.6)."""
    country: str | None = call.settings.get("default_country_id")
    return country if call.directory.entry("country", country) else None


def _dialing_code(call: Call, country: str | None) -> str | None:
    code: str | None = call.directory.fields("country", country).get("dialing_code")
    return code
