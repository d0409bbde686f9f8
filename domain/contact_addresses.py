"""Where a contact can be reached: its numbers and addresses by the keys under which they are searched."""

from __future__ import annotations

from collections.abc import Mapping

from domain.contact_information import ContactInformation
from domain.fields import JsonObject
from domain.identifiers import normalised
from domain.phone_numbers import search_key

__all__ = ["email_addresses", "normalise_email", "phone_numbers"]

PHONE_FIELDS = ("number", "full_number")


def normalise_email(address: str) -> str:
    """An e-mail address as it is searched: without regard to case and surrounding blanks."""
    return normalised("email_address", address, case_insensitive=True)


def phone_numbers(contact: ContactInformation) -> Mapping[str, str]:
    """The numbers of a contact as they are registered, and with their area codes, by search key."""
    phones = _entries(contact, "phone_set")
    return {search_key(phone[name]): phone[name] for phone in phones for name in PHONE_FIELDS}


def email_addresses(contact: ContactInformation) -> Mapping[str, str]:
    """The e-mail addresses of a contact as they are registered, by search key."""
    addresses = [entry["email_address"] for entry in _entries(contact, "email_set")]
    return {normalise_email(address): address for address in addresses}


def _entries(contact: ContactInformation, set_name: str) -> list[JsonObject]:
    """The entries of a set; none if their content is erased."""
    return [] if contact.is_erased else contact.sets.get(set_name, [])
