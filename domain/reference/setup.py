"""The set-up of communications, contacts, access tokens and service requests.

Sections 3.7, 3.8 and 3.9 of reference_entities.md.
"""

from __future__ import annotations

from domain.fields import Parameters, mandatory
from domain.reference.fields import (
    ALTERNATIVE_CODE,
    CODE,
    DESCRIPTION,
    MEDIA_TYPES,
    NAME,
    TOKEN_DEFINITION,
    TOKEN_SETTINGS,
    OptionalObject,
    state,
)
from domain.reference.records import ID, IdentifierField, RecordKind, RecordLink, unique
from domain.scalar_fields import CONTENT, IDENTIFYING, Boolean, Enumeration, Integer, Text

__all__ = [
    "COMMUNICATIONS",
    "CONTACTS",
    "IMPACT_LEVEL",
    "PRIORITY_LEVEL",
    "SERVICE_REQUESTS",
    "SERVICE_REQUEST_STATES",
    "URGENCY_LEVEL",
]

COMMUNICATIONS = (
    RecordKind(
        key="communication_category",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("code")),
        compact=("id", "name", "description", "code"),
        parameters=Parameters(
            NAME, DESCRIPTION, CODE, RecordLink(name="parent", target_kind="communication_category")
        ),
    ),
    RecordKind(
        key="communication_template",
        identifier_fields=(ID, unique("name"), unique("alternative_code")),
        parameters=Parameters(
            NAME,
            ALTERNATIVE_CODE,
            DESCRIPTION,
            state("EFFECTIVE", "NOT_EFFECTIVE"),
            Enumeration(name="direction", allowed=("INCOMING", "OUTGOING")),
            Enumeration(name="media", allowed=MEDIA_TYPES),
            Text(name="subject"),
            Text(name="content", max_length=CONTENT),
            RecordLink(name="category", target_kind="communication_category"),
            RecordLink(
                name="communication_queue_external_system",
                target_kind="communication_queue_external_system",
            ),
            RecordLink(name="allowed_unit", target_kind="unit", many=True),
        ),
        defaults={"direction": "OUTGOING", "allowed_unit": []},
    ),
    RecordKind(
        key="communication_queue_external_system",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("alternative_code")),
        compact=("id", "name", "alternative_code"),
        parameters=Parameters(
            NAME,
            ALTERNATIVE_CODE,
            DESCRIPTION,
            Integer(name="message_character_limit", minimum=0),
        ),
    ),
)
"""Section 3.7."""


def _digits(text: str) -> str | None:
    digits = text.strip()
    return digits if digits.isascii() and digits.isdigit() else None


CONTACTS = (
    RecordKind(
        key="access_token_classification",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("alternative_code")),
        compact=("id", "name", "alternative_code"),
        parameters=Parameters(NAME, ALTERNATIVE_CODE, *TOKEN_SETTINGS),
        defaults=TOKEN_DEFINITION,
    ),
    RecordKind(
        key="contact_category",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("code")),
        compact=("id", "name", "code"),
        parameters=Parameters(NAME, CODE),
    ),
    RecordKind(
        key="country",
        identifier_fields=(
            ID,
            unique("name"),
            IdentifierField("alternative_code"),
            unique("two_character_code"),
            unique("three_character_code"),
        ),
        case_insensitive=frozenset(
            {"id", "name", "alternative_code", "two_character_code", "three_character_code"}
        ),
        compact=(
            "id",
            "name",
            "alternative_code",
            "dialing_code",
            "two_character_code",
            "three_character_code",
            "country_flag",
        ),
        parameters=Parameters(
            mandatory(NAME),
            ALTERNATIVE_CODE,
            Text(name="dialing_code", clean=_digits),
            Text(name="two_character_code", max_length=IDENTIFYING),
            Text(name="three_character_code", max_length=IDENTIFYING),
            OptionalObject(
                name="country_flag",
                fields=(
                    Text(name="id"),
                    OptionalObject(
                        name="file",
                        fields=(
                            Text(name="file_name"),
                            Text(name="file_content_url"),
                            Text(name="file_mime_type"),
                        ),
                    ),
                ),
            ),
        ),
    ),
    RecordKind(
        key="industry",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("code")),
        compact=("id", "name", "code"),
        parameters=Parameters(NAME, CODE),
    ),
    RecordKind(
        key="industry_sector",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("alternative_code")),
        compact=("id", "name", "alternative_code"),
        parameters=Parameters(NAME, ALTERNATIVE_CODE),
    ),
)
"""Section 3.8."""

SERVICE_REQUEST_STATES = (
    "PENDING",
    "RESPONDED",
    "TEMPORARY_RESOLVED",
    "FINAL_RESOLVED",
    "COMPLETED",
    "CANCELLED",
)
"""The life cycle states of a service request, to one of which each status belongs."""

_CUSTOM = ("CUSTOM1", "CUSTOM2", "CUSTOM3", "CUSTOM4", "CUSTOM5")

URGENCY_LEVEL = Enumeration(
    name="urgency_level", allowed=("URGENCY1", "URGENCY2", "URGENCY3", *_CUSTOM)
)
IMPACT_LEVEL = Enumeration(name="impact_level", allowed=("IMPACT1", "IMPACT2", "IMPACT3", *_CUSTOM))
PRIORITY_LEVEL = Enumeration(
    name="priority_level",
    allowed=("PRIORITY1", "PRIORITY2", "PRIORITY3", "PRIORITY4", "PRIORITY5", *_CUSTOM),
)
"""The levels of a service request (service_requests.md, section 5.2)."""


def _choice(name: str) -> tuple[RecordLink, RecordLink]:
    """The links of a type to the records of one kind that it allows, and to its default."""
    to = f"service_request_{name}"
    return RecordLink(name=f"allowed_{name}", target_kind=to, many=True), RecordLink(
        name=f"default_{name}", target_kind=to
    )


def _answer_category(key: str) -> RecordKind:
    """The categories of responses and of both resolutions, which are alike."""
    return RecordKind(
        key=key,
        identifier_fields=(ID, unique("name"), unique("code")),
        compact=("id", "name", "code", "description", "requires_customer_acceptance"),
        parameters=Parameters(
            NAME,
            CODE,
            DESCRIPTION,
            Boolean(name="requires_customer_acceptance"),
            RecordLink(name="parent", target_kind=key),
        ),
        defaults={"requires_customer_acceptance": False},
    )


SERVICE_REQUESTS = (
    RecordKind(
        key="service_request_type",
        identifier_fields=(ID, unique("name"), unique("alternative_code")),
        compact=("id", "name", "alternative_code", "description"),
        minimal=("id", "name", "alternative_code"),
        parameters=Parameters(
            NAME,
            ALTERNATIVE_CODE,
            DESCRIPTION,
            RecordLink(name="allowed_status", target_kind="service_request_status", many=True),
            OptionalObject(
                name="default_status_ids",
                fields=tuple(
                    RecordLink(name=word, target_kind="service_request_status", input_name=word)
                    for word in SERVICE_REQUEST_STATES
                ),
            ),
            *_choice("category"),
            *_choice("response_category"),
            *_choice("temporary_resolution_category"),
            *_choice("final_resolution_category"),
            *_choice("cancellation_reason"),
            Boolean(name="notify_by_email"),
            Boolean(name="notify_by_sms"),
            OptionalObject(
                name="default_assigned_to",
                fields=(
                    RecordLink(name="unit", target_kind="unit"),
                    RecordLink(name="user", target_kind="user"),
                ),
            ),
        ),
        defaults={
            "allowed_status": [],
            "allowed_category": [],
            "allowed_response_category": [],
            "allowed_temporary_resolution_category": [],
            "allowed_final_resolution_category": [],
            "allowed_cancellation_reason": [],
            "notify_by_email": False,
            "notify_by_sms": False,
        },
    ),
    RecordKind(
        key="service_request_status",
        identifier_fields=(ID, unique("name"), IdentifierField("alternative_code")),
        compact=("id", "name", "alternative_code", "description", "life_cycle_state"),
        minimal=("id", "name", "alternative_code", "life_cycle_state"),
        parameters=Parameters(
            NAME, ALTERNATIVE_CODE, DESCRIPTION, mandatory(state(*SERVICE_REQUEST_STATES))
        ),
    ),
    RecordKind(
        key="service_request_category",
        identifier_fields=(ID, unique("name"), unique("code")),
        compact=("id", "name", "code", "description", "classification"),
        parameters=Parameters(
            NAME,
            CODE,
            DESCRIPTION,
            Text(name="classification"),
            RecordLink(name="parent", target_kind="service_request_category"),
        ),
    ),
    _answer_category("service_request_response_category"),
    _answer_category("service_request_temporary_resolution_category"),
    _answer_category("service_request_final_resolution_category"),
    RecordKind(
        key="service_request_cancellation_reason",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("alternative_code")),
        compact=("id", "name", "alternative_code", "description"),
        parameters=Parameters(NAME, ALTERNATIVE_CODE, DESCRIPTION),
    ),
    RecordKind(
        key="service_request_priority",
        unique_together=("urgency_level", "impact_level"),
        parameters=Parameters(
            mandatory(URGENCY_LEVEL), mandatory(IMPACT_LEVEL), mandatory(PRIORITY_LEVEL)
        ),
    ),
)
"""Section 3.9."""
