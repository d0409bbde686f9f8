"""The documents that callers see, and the columns they are found by.

Shapes: contract common.md section 10, contact_information.md section 10, communications.md
section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from domain.aggregate import Stamp
from domain.communication import (
    CATEGORY,
    CONTACT,
    DIRECTION,
    EXTERNAL_SYSTEM,
    FILING,
    LIFE_CYCLE_STATE,
    MEDIA,
    REFERENCES,
    TEXTS,
    UNRESTRICTED,
    Communication,
)
from domain.communication import UDF as COMMUNICATION_UDF
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
from domain.fields import Boolean, Date, Enumeration, Field, JsonSchema, Shape, Text, Values
from domain.nested import Object, Reference
from domain.queue_entry import ERROR_CODE, ERROR_DESCRIPTION, QueueEntry
from domain.reference_entities import KINDS, identifiable
from domain.registration import Record
from domain.session import Session
from domain.values import wall_clock
from services.ids import id_text
from services.views import Projection, Row, document, entity_row, projection, stored_references

__all__ = [
    "COMMUNICATION",
    "COMPACT_COMMUNICATION",
    "COMPACT_CONTACT",
    "CONTACT_INFORMATION",
    "NO_PHOTO",
    "PHOTO",
    "QUEUE_ENTRY",
    "dialled",
    "worldwide_name",
]

ID = Text(name="id")
NUMBER = Text(name="number")
USER, UNIT = identifiable("user"), identifiable("unit")

LOG_INFORMATION = Object(
    name="log_information",
    rows=(
        Date(name="created_date"),
        Date(name="updated_date"),
        Reference(name="created_by_user", to=USER),
        Reference(name="updated_by_user", to=USER),
        Reference(name="created_by_unit", to=UNIT),
        Reference(name="updated_by_unit", to=UNIT),
    ),
)

NAMES: tuple[Field, ...] = (Text(name="name"), *PERSON_NAME, COMPANY_NAME)
CONTACT_STATE = Enumeration(name="life_cycle_state", words="MARKETING FINANCIAL")
CONTACT_TYPE = Enumeration(name="type", words="PERSON COMPANY")
COMPACT_CONTACT = Shape(
    "contact_information",
    ID,
    CONTACT_TYPE,
    CONTACT_STATE,
    *NAMES,
    Object(name="demographics", rows=DEMOGRAPHICS, absent_as_null=True),
    Object(name="company_profile", rows=COMPANY_PROFILE, absent_as_null=True),
)
AUTHORIZATION_SETTINGS = Object(
    name="authorization_settings",
    rows=(
        MARKETING[0],
        Date(name="direct_marketing_setting_updated_date"),
        Reference(name="direct_marketing_setting_updated_by_user", to=USER),
        MARKETING[1],
        Date(name="affiliate_marketing_setting_updated_date"),
        Reference(name="affiliate_marketing_setting_updated_by_user", to=USER),
    ),
)
CONTACT_INFORMATION = Shape(
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
PHOTO = Shape(
    "profile_photo",
    Text(name="file_name"),
    Text(name="file_content_url"),
    Text(name="file_mime_type"),
)
NO_PHOTO = orjson.dumps(dict.fromkeys(row.key for row in PHOTO.rows))


@dataclass(frozen=True, kw_only=True)
class FollowUps(Field):
    """The later communications of the same code, found when the document is read."""

    def sent(self, kept: Any, zone: ZoneInfo) -> Any:
        return {"$ref": f"follow_ups/{kept}"}

    def sent_schema(self) -> JsonSchema:
        return {"type": "array", "items": {"$ref": "#/components/schemas/communication"}}


VIEWED = Boolean(name="viewed", numeric=True)
VIEWED_ON = Date(name="viewed_on", java=True)
COMPACT_COMMUNICATION = Shape(
    "communication", ID, NUMBER, LIFE_CYCLE_STATE, TEXTS[0], VIEWED, VIEWED_ON, CONTACT
)
COMMUNICATION = Shape(
    "full_communication",
    ID,
    NUMBER,
    Text(name="code"),
    LIFE_CYCLE_STATE,
    DIRECTION,
    MEDIA,
    TEXTS[0],
    TEXTS[1],
    Text(name="from"),
    TEXTS[2],
    TEXTS[3],
    VIEWED,
    VIEWED_ON,
    CONTACT,
    CATEGORY,
    EXTERNAL_SYSTEM,
    REFERENCES,
    FollowUps(name="follow_up_set"),
    UNRESTRICTED,
    *COMMUNICATION_UDF,
    *FILING,
    LOG_INFORMATION,
)
QUEUE_ENTRY = Shape(
    "communication_queue",
    ID,
    NUMBER,
    Enumeration(name="life_cycle_state", words="PENDING REJECTED COMPLETED COMPLETED_AND_REMOVED"),
    ERROR_CODE,
    ERROR_DESCRIPTION,
    Reference(name="communication", to=identifiable("communication")),
    EXTERNAL_SYSTEM,
    LOG_INFORMATION,
)


def log_information(created: Stamp, updated: Stamp, zone: ZoneInfo) -> Values:
    """Who made the first and the last change, and when (common.md, section 10)."""
    return {
        "created_date": wall_clock(created.at, zone),
        "updated_date": wall_clock(updated.at, zone),
        "created_by_user": created.user,
        "updated_by_user": updated.user,
        "created_by_unit": created.unit,
        "updated_by_unit": updated.unit,
    }


def dialled(number: str) -> str:
    """A phone number as it is searched: digits only, without a leading ``+`` or ``00``."""
    return "".join(filter(str.isdigit, number)).removeprefix("00")


def display_name(contact: ContactInformation) -> Any:
    """The computed ``name``: of persons in both orders, the setting chooses when it is read."""
    if contact.type == "COMPANY":
        return contact.details.get("company_name")
    first, last = ((contact.details.get(n) or "").strip() for n in ("first_name", "last_name"))
    return {"$name": [" ".join(filter(None, order)) for order in ((first, last), (last, first))]}


def _compact_contact(contact: ContactInformation) -> Values:
    profile = "demographics" if contact.type == "PERSON" else "company_profile"
    own = {profile: contact.details.get(profile) or {}}
    return (
        contact.details
        | {"demographics": None, "company_profile": None}
        | own
        | {
            "id": id_text(contact.id),
            "type": contact.type,
            "life_cycle_state": contact.state,
            "name": display_name(contact),
        }
    )


def _full_contact(contact: ContactInformation, compact: Values, zone: ZoneInfo) -> Values:
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


def _authorization_settings(contact: ContactInformation, zone: ZoneInfo) -> Values:
    values: Values = {}
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
    names = {name: (values.get(name) or "").strip() for name in fields}
    return {"number": contact.number} | {name: value for name, value in names.items() if value}


@projection(ContactInformation)
def contact_information(
    contact: ContactInformation, settings: Mapping[str, Any], zone: ZoneInfo
) -> Projection:
    """A contact: its row, its compact object, its photo."""
    id_, values = id_text(contact.id), _compact_contact(contact)
    shown = Projection(
        full=document(CONTACT_INFORMATION, _full_contact(contact, values, zone), zone),
        compact=document(COMPACT_CONTACT, values, zone),
        photo=_photo(contact),
        names=_contact_names(contact),
        claims=_contact_claims(contact, settings),
    )
    unsearched = ("number", "registration_number")
    columns: Values = {k: v for k, v in shown.names.items() if k not in unsearched}
    phones = {dialled(p[k]) for p in contact.sets.get("phone_set", ()) for k in _PHONE_KEYS}
    emails = {e["email_address"].casefold() for e in contact.sets.get("email_set", ())}
    columns |= {
        "id": id_,
        "type": contact.type,
        "life_cycle_state": contact.state,
        "phones": sorted(phones),
        "emails": sorted(emails),
        "photo": contact.photo and contact.photo["id"],
        "identity": contact.identifying(),
    }
    shown.rows = [
        Row(
            "contacts",
            contact.id,
            contact.version,
            columns,
            shown.full,
            stored_references(shown.full),
        ),
        entity_row("contact_information", contact, id_, shown, shown.names),
    ]
    if contact.photographed:
        photo: Values = {"kind": "profile_photo", "id": id_}
        shown.rows.append(Row("entities", contact.id, contact.version, photo, shown.photo))
    return shown


_PHONE_KEYS = ("number", "full_number")


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
    """One claim on the values that the organisation's rule wants unique together, if all are set.

    `ledger.reclaim` makes the same text when the rule changes.
    """
    rule = settings.get("unique_person" if contact.type == "PERSON" else "unique_company") or []
    identity = contact.identifying()
    values = [identity[name] for name in sorted(rule) if name in identity]
    if not rule or len(values) < len(rule):
        return {}
    return {
        "\x1e".join((f"contact_information:{contact.type}", *sorted(rule), *values)): ", ".join(
            rule
        )
    }


def _compact_communication(communication: Communication) -> Values:
    return communication.details | {
        "id": id_text(communication.id),
        "number": communication.number,
        "life_cycle_state": communication.state,
        "viewed": communication.viewed_on is not None,
        "viewed_on": communication.viewed_on,
        "contact_information": communication.contact_information,
    }


@projection(Communication)
def communication(
    communication: Communication, settings: Mapping[str, Any], zone: ZoneInfo
) -> Projection:
    """A communication: its row and its compact object."""
    compact = _compact_communication(communication)
    full = compact | {
        "code": communication.code,
        "follow_up_set": compact["id"],
        "unrestricted_parameter_set": communication.parameters,
        "log_information": log_information(communication.created, communication.stamp, zone),
    }
    shown = Projection(
        full=document(COMMUNICATION, full, zone),
        compact=document(COMPACT_COMMUNICATION, compact, zone),
        names={"number": communication.number},
    )
    searched = ("id", "code", "contact_information", "category", "direction", "media")
    columns = {name: full.get(name) for name in (*searched, "life_cycle_state")}
    refs = stored_references(shown.full)
    shown.rows = [
        Row("communications", communication.id, communication.version, columns, shown.full, refs),
        entity_row("communication", communication, compact["id"], shown, shown.names),
    ]
    return shown


@projection(QueueEntry)
def queue_entry(entry: QueueEntry, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A queue entry: its row; nothing else shows it."""
    id_ = id_text(entry.id)
    values = {
        "id": id_,
        "number": entry.number,
        "life_cycle_state": entry.state,
        "error_code": entry.error_code,
        "error_description": entry.error_description,
        "communication": entry.communication,
        "communication_queue_external_system": entry.external_system,
        "log_information": log_information(entry.created, entry.stamp, zone),
    }
    shown = Projection(full=document(QUEUE_ENTRY, values, zone), names={"number": entry.number})
    columns = {
        "id": id_,
        "communication": entry.communication,
        "contact_information": entry.contact_information,
        "media": entry.media,
        "external_system": entry.external_system,
        "life_cycle_state": entry.state,
    }
    refs = stored_references(shown.full)
    shown.rows = [
        Row("queue_entries", entry.id, entry.version, columns, shown.full, refs),
        entity_row("communication_queue", entry, id_, shown, shown.names),
    ]
    return shown


def worldwide_name(kind: str, name: str) -> str:
    """The claim of a name that is unique over all organisations."""
    return f"{kind}={name.strip()}"


@projection(Record)
def record(record: Record, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A registered record: as it was registered, and outside the directory its compact object."""
    kind = KINDS[record.kind]
    shown = Projection(full=orjson.dumps(record.fields), retired=record.is_retired)
    identifying = kind.identifying(record.fields, record.record_id)
    if not record.is_retired:
        shown.claims = {
            f"{kind.key}.{name}={identifying[name]}": name
            for name in kind.unique
            if name in identifying and name != kind.worldwide
        }
        if record.fields.get(kind.worldwide):
            name = worldwide_name(kind.key, record.fields[kind.worldwide])
            shown.worldwide = {name: kind.worldwide}
    columns: Values = {"kind": kind.key, "id": record.record_id, "retired": record.is_retired}
    columns["directory"] = kind.directory
    shown.rows = [Row("records", record.id, record.version, columns, shown.full)]
    if not kind.directory:
        values = record.fields | {"id": record.record_id}
        shown.compact = document(kind.shape, values, zone)
        shown.names = {name: v for name, v in identifying.items() if name != "id"}
        shown.rows.append(entity_row(kind.key, record, record.record_id, shown, shown.names))
    return shown


@projection(Session)
def session(session: Session, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A session as every call checks it."""
    columns = {
        "id": id_text(session.id),
        "user_id": session.user,
        "unit_id": session.unit,
        "expires_at": session.expires_at,
        "released": session.state == "RELEASED",
    }
    return Projection(rows=[Row("sessions", session.id, session.version, columns)])


COMPACTS: dict[str, Shape] = {
    "contact_information": COMPACT_CONTACT,
    "communication": COMPACT_COMMUNICATION,
} | {kind.key: kind.shape for kind in KINDS.values() if kind.compact}
"""The compact object of every entity that is shown inside others, by entity."""
