"""The projection of contacts: documents for callers, and columns to find them by.

Shapes: contract common.md section 10, contact_information.md section 10.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from domain.composite_fields import Object, Reference
from domain.contact_addresses import email_addresses, phone_numbers
from domain.contact_fields import (
    COMPANY_NAME,
    COMPANY_PROFILE,
    DEMOGRAPHICS,
    MARKETING,
    PASSIVE,
    PERSON_NAME,
    PROFILES,
    SETS,
    UDF,
)
from domain.contact_information import ContactInformation
from domain.fields import Field, JsonObject, ResponseShape
from domain.identifiers import normalised
from domain.parsing import wall_clock
from domain.scalar_fields import Boolean, Date, Enumeration, Text
from services.ids import format_id
from services.log_information import LOG_INFORMATION, USER, log_information
from services.projections import (
    Projection,
    ViewRow,
    document,
    entity_row,
    projection,
    stored_references,
)

__all__ = [
    "COMPACT_CONTACT",
    "CONTACT_INFORMATION",
    "CONTACT_TYPE",
    "NO_PHOTO",
    "PHOTO",
]

ID = Text(name="id")
NUMBER = Text(name="number")
NAMES: tuple[Field, ...] = (Text(name="name", personal=True), *PERSON_NAME, COMPANY_NAME)
CONTACT_STATE = Enumeration(name="life_cycle_state", allowed=("MARKETING", "FINANCIAL"))
CONTACT_TYPE = Enumeration(name="type", allowed=("PERSON", "COMPANY"))
COMPACT_CONTACT = ResponseShape(
    "contact_information",
    ID,
    CONTACT_TYPE,
    CONTACT_STATE,
    *NAMES,
    Object(name="demographics", fields=DEMOGRAPHICS, absent_as_null=True),
    Object(name="company_profile", fields=COMPANY_PROFILE, absent_as_null=True),
)
AUTHORIZATION_SETTINGS = Object(
    name="authorization_settings",
    fields=(
        MARKETING[0],
        Date(name="direct_marketing_setting_updated_date"),
        Reference(name="direct_marketing_setting_updated_by_user", target=USER),
        MARKETING[1],
        Date(name="affiliate_marketing_setting_updated_date"),
        Reference(name="affiliate_marketing_setting_updated_by_user", target=USER),
    ),
)
CONTACT_INFORMATION = ResponseShape(
    "full_contact_information",
    ID,
    NUMBER,
    CONTACT_TYPE,
    CONTACT_STATE,
    *NAMES,
    PASSIVE[4],
    Boolean(name="organizational_unit", numeric=True),
    PASSIVE[0],
    *UDF,
    *PASSIVE[1:4],
    *PROFILES,
    *SETS.values(),
    AUTHORIZATION_SETTINGS,
    LOG_INFORMATION,
)
PHOTO = ResponseShape(
    "profile_photo",
    Text(name="file_name"),
    Text(name="file_content_url"),
    Text(name="file_mime_type"),
)
NO_PHOTO = orjson.dumps(dict.fromkeys(field.key for field in PHOTO.fields))


def display_name(contact: ContactInformation) -> Any:
    """The computed ``name``; of persons in both orders, of which the setting chooses when it is read."""
    if contact.type == "COMPANY":
        return contact.details.get("company_name")
    first, last = ((contact.details.get(n) or "").strip() for n in ("first_name", "last_name"))
    return {"$name": [" ".join(filter(None, order)) for order in ((first, last), (last, first))]}


def _compact_contact(contact: ContactInformation) -> JsonObject:
    profile = "demographics" if contact.type == "PERSON" else "company_profile"
    return (
        contact.details
        | {"demographics": None, "company_profile": None}
        | {profile: contact.details.get(profile) or {}}
        | {
            "id": format_id(contact.id),
            "type": contact.type,
            "life_cycle_state": contact.state,
            "name": display_name(contact),
        }
    )


def _full_contact(contact: ContactInformation, compact: JsonObject, zone: ZoneInfo) -> JsonObject:
    profile, other = ("demographics", "company_profile")
    if contact.type == "COMPANY":
        profile, other = other, profile
    shared = {key: compact[profile].get(key) for key in ("industry", "industry_sector")}
    return (
        compact
        | contact.sets
        | {
            "number": contact.number,
            other: shared,
            "organizational_unit": False,
            "authorization_settings": _authorization_settings(contact, zone),
            "log_information": log_information(contact.created, contact.stamp, zone),
        }
    )


def _authorization_settings(contact: ContactInformation, zone: ZoneInfo) -> JsonObject:
    values: JsonObject = {}
    for material, decision in contact.marketing.items():
        at = decision["at"]
        values |= {
            f"send_{material}_marketing_material": decision["send"],
            f"{material}_marketing_setting_updated_date": at and wall_clock(at, zone),
            f"{material}_marketing_setting_updated_by_user": decision["user"],
        }
    return values


def _contact_names(contact: ContactInformation) -> dict[str, str]:
    person = ("id_number", "passport_number", "social_security_number")
    company = ("vat_registration_number", "registration_number")
    profile = "demographics" if contact.type == "PERSON" else "company_profile"
    values = contact.details.get(profile) or {}
    fields = person if contact.type == "PERSON" else company
    names = {name: normalised(name, values.get(name) or "") for name in fields}
    return {"number": contact.number} | {name: value for name, value in names.items() if value}


@projection(ContactInformation)
def contact_information(
    contact: ContactInformation, settings: Mapping[str, Any], zone: ZoneInfo
) -> Projection:
    """A contact: its row, its compact object, its photo."""
    id_, values = format_id(contact.id), _compact_contact(contact)
    result = Projection(
        full=document(CONTACT_INFORMATION, _full_contact(contact, values, zone), zone),
        compact=document(COMPACT_CONTACT, values, zone),
        photo=_photo(contact),
        names=_contact_names(contact),
        claims=_contact_claims(contact, settings),
        extra=_extra(contact),
        retired=contact.forgotten,
    )
    unsearched = ("number", "registration_number")
    columns: JsonObject = {k: v for k, v in result.names.items() if k not in unsearched}
    columns |= {
        "id": id_,
        "type": contact.type,
        "life_cycle_state": contact.state,
        "phones": sorted(phone_numbers(contact)),
        "emails": sorted(email_addresses(contact)),
        "photo": contact.photo and contact.photo["id"],
        "uniqueness_values": contact.uniqueness_values(),
    }
    result.rows = [
        ViewRow(
            "contacts",
            contact.id,
            contact.version,
            columns,
            result.full,
            stored_references(result.full),
        ),
        entity_row("contact_information", contact, id_, result, result.names),
    ]
    if contact.photographed:
        photo: JsonObject = {"kind": "profile_photo", "id": id_}
        result.rows.append(ViewRow("entities", contact.id, contact.version, photo, result.photo))
    return result


def _extra(contact: ContactInformation) -> JsonObject:
    """Values beside a contact's document, for its history: photo, accounts, and if it is erased."""
    accounts = [{"$ref": f"accounts_receivable/{id_}"} for id_ in sorted(contact.accounts)]
    return {
        "profile_photo": contact.photo,
        "accounts_receivable_set": accounts,
        "forgotten": contact.forgotten or None,
    }


def _photo(contact: ContactInformation) -> bytes:
    if contact.photo is None:
        return NO_PHOTO
    photo_id = contact.photo["id"]
    return orjson.dumps(
        {
            "file_name": f"{photo_id}_key_contacts-profilephoto_{contact.photo['file_name']}",
            "file_content_url": f"/crm/ImageDownloadServlet?id={photo_id}",
            "file_mime_type": contact.photo["mime_type"],
        }
    )


def _contact_claims(contact: ContactInformation, settings: Mapping[str, Any]) -> dict[str, str]:
    """The claim on the values that are unique together by the organisation's rule, if all are set.

    `ledger.rebuild_claims` makes the same text when the rule changes. It holds a hash of the values: they
    are personal, and may be longer than what an index can hold.
    """
    rule = settings.get("unique_person" if contact.type == "PERSON" else "unique_company") or []
    identity = contact.uniqueness_values()
    values = [identity[name] for name in sorted(rule) if name in identity]
    if not rule or len(values) < len(rule):
        return {}
    digest = hashlib.sha256("\x1e".join((*sorted(rule), *values)).encode()).hexdigest()
    return {f"contact_information:{contact.type}\x1e{digest}": ", ".join(rule)}
