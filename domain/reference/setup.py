"""What communications, contacts, access tokens and service requests choose from.

These are sections 3.7, 3.8 and 3.9 of reference_entities.md.
"""

from __future__ import annotations

from domain.fields import mandatory
from domain.reference.fields import (
    ALTERNATIVE_CODE,
    CODE,
    DESCRIPTION,
    MEDIA,
    NAME,
    TOKEN_DEFINITION,
    TOKEN_SETTINGS,
    Embedded,
    state,
)
from domain.reference.records import Kind, Link
from domain.scalar_fields import CONTENT, Boolean, Enumeration, Integer, Text

__all__ = [
    "COMMUNICATIONS",
    "CONTACTS",
    "IMPACT_LEVEL",
    "PRIORITY_LEVEL",
    "SERVICE_REQUESTS",
    "STATES",
    "URGENCY_LEVEL",
]

COMMUNICATIONS = (
    Kind(
        key="communication_category",
        identified="id! name code",
        compact="id name description code",
        rows=(NAME, DESCRIPTION, CODE, Link(name="parent", to="communication_category")),
    ),
    Kind(
        key="communication_template",
        identified="id! name! alternative_code!",
        rows=(
            NAME,
            ALTERNATIVE_CODE,
            DESCRIPTION,
            state("EFFECTIVE NOT_EFFECTIVE"),
            Enumeration(name="direction", words="INCOMING OUTGOING"),
            Enumeration(name="media", words=MEDIA),
            Text(name="subject"),
            Text(name="content", longest=CONTENT),
            Link(name="category", to="communication_category"),
            Link(
                name="communication_queue_external_system",
                to="communication_queue_external_system",
            ),
            Link(name="allowed_unit", to="unit", many=True),
        ),
        defaults={"direction": "OUTGOING", "allowed_unit": []},
    ),
    Kind(
        key="communication_queue_external_system",
        identified="id! name alternative_code",
        compact="id name alternative_code",
        rows=(
            NAME,
            ALTERNATIVE_CODE,
            DESCRIPTION,
            Integer(name="message_character_limit", least=0),
        ),
    ),
)
"""Section 3.7."""


def _digits(text: str) -> str | None:
    found = text.strip()
    return found if found.isascii() and found.isdigit() else None


CONTACTS = (
    Kind(
        key="access_token_classification",
        identified="id! name alternative_code",
        compact="id name alternative_code",
        rows=(NAME, ALTERNATIVE_CODE, *TOKEN_SETTINGS),
        defaults=TOKEN_DEFINITION,
    ),
    Kind(
        key="contact_category",
        identified="id! name code",
        compact="id name code",
        rows=(NAME, CODE),
    ),
    Kind(
        key="country",
        identified="id! name! alternative_code two_character_code! three_character_code!",
        folded="id name alternative_code two_character_code three_character_code",
        compact="id name alternative_code dialing_code two_character_code three_character_code"
        " country_flag",
        rows=(
            mandatory(NAME),
            ALTERNATIVE_CODE,
            Text(name="dialing_code", clean=_digits),
            Text(name="two_character_code"),
            Text(name="three_character_code"),
            Embedded(
                name="country_flag",
                rows=(
                    Text(name="id"),
                    Embedded(
                        name="file",
                        rows=(
                            Text(name="file_name"),
                            Text(name="file_content_url"),
                            Text(name="file_mime_type"),
                        ),
                    ),
                ),
            ),
        ),
    ),
    Kind(
        key="industry",
        identified="id! name code",
        compact="id name code",
        rows=(NAME, CODE),
    ),
    Kind(
        key="industry_sector",
        identified="id! name alternative_code",
        compact="id name alternative_code",
        rows=(NAME, ALTERNATIVE_CODE),
    ),
)
"""Section 3.8."""

STATES = "PENDING RESPONDED TEMPORARY_RESOLVED FINAL_RESOLVED COMPLETED CANCELLED"
"""The life cycle states of a service request, to one of which each status belongs."""

_CUSTOM = "CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5"

URGENCY_LEVEL = Enumeration(name="urgency_level", words=f"URGENCY1 URGENCY2 URGENCY3 {_CUSTOM}")
IMPACT_LEVEL = Enumeration(name="impact_level", words=f"IMPACT1 IMPACT2 IMPACT3 {_CUSTOM}")
PRIORITY_LEVEL = Enumeration(
    name="priority_level", words=f"PRIORITY1 PRIORITY2 PRIORITY3 PRIORITY4 PRIORITY5 {_CUSTOM}"
)
"""The levels of a service request (service_requests.md, section 5.2)."""


def _choice(name: str) -> tuple[Link, Link]:
    """What a type allows of one kind of set-up, and which of it is its default."""
    to = f"service_request_{name}"
    return Link(name=f"allowed_{name}", to=to, many=True), Link(name=f"default_{name}", to=to)


def _answer_category(key: str) -> Kind:
    """The categories of responses and of both resolutions, which are alike."""
    return Kind(
        key=key,
        identified="id! name! code!",
        compact="id name code description requires_customer_acceptance",
        rows=(
            NAME,
            CODE,
            DESCRIPTION,
            Boolean(name="requires_customer_acceptance"),
            Link(name="parent", to=key),
        ),
        defaults={"requires_customer_acceptance": False},
    )


SERVICE_REQUESTS = (
    Kind(
        key="service_request_type",
        identified="id! name! alternative_code!",
        compact="id name alternative_code description",
        brief="id name alternative_code",
        rows=(
            NAME,
            ALTERNATIVE_CODE,
            DESCRIPTION,
            Link(name="allowed_status", to="service_request_status", many=True),
            Embedded(
                name="default_status_ids",
                rows=tuple(
                    Link(name=word, to="service_request_status", given_as=word)
                    for word in STATES.split()
                ),
            ),
            *_choice("category"),
            *_choice("response_category"),
            *_choice("temporary_resolution_category"),
            *_choice("final_resolution_category"),
            *_choice("cancellation_reason"),
            Boolean(name="notify_by_email"),
            Boolean(name="notify_by_sms"),
            Embedded(
                name="default_assigned_to",
                rows=(Link(name="unit", to="unit"), Link(name="user", to="user")),
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
    Kind(
        key="service_request_status",
        identified="id! name! alternative_code",
        compact="id name alternative_code description life_cycle_state",
        brief="id name alternative_code life_cycle_state",
        rows=(NAME, ALTERNATIVE_CODE, DESCRIPTION, mandatory(state(STATES))),
    ),
    Kind(
        key="service_request_category",
        identified="id! name! code!",
        compact="id name code description classification",
        rows=(
            NAME,
            CODE,
            DESCRIPTION,
            Text(name="classification"),
            Link(name="parent", to="service_request_category"),
        ),
    ),
    _answer_category("service_request_response_category"),
    _answer_category("service_request_temporary_resolution_category"),
    _answer_category("service_request_final_resolution_category"),
    Kind(
        key="service_request_cancellation_reason",
        identified="id! name alternative_code",
        compact="id name alternative_code description",
        rows=(NAME, ALTERNATIVE_CODE, DESCRIPTION),
    ),
    Kind(
        key="service_request_priority",
        together=("urgency_level", "impact_level"),
        rows=(mandatory(URGENCY_LEVEL), mandatory(IMPACT_LEVEL), mandatory(PRIORITY_LEVEL)),
    ),
)
"""Section 3.9."""
