"""The organisation and its installation (reference_entities.md, sections 3.6 and 3.10)."""

from __future__ import annotations

from domain.fields import Parameters, mandatory
from domain.reference.delivery_servers import EMAIL_SERVER, PASSWORD, SECRET, SMS_SERVER
from domain.reference.fields import (
    ALTERNATIVE_CODE,
    DESCRIPTION,
    GUESS_LIMITS,
    GUESS_SETTINGS,
    LANGUAGES,
    MEDIA_TYPES,
    NAME,
    NOTICE_LIMIT,
    NUMBER,
    TOKEN_DEFINITION,
    TOKEN_SETTINGS,
    EnumerationSet,
    OptionalObject,
)
from domain.reference.records import ID, IdentifierField, RecordKind, RecordLink, unique
from domain.scalar_fields import IDENTIFYING, Boolean, Enumeration, Integer, Text

__all__ = [
    "AUDITOR",
    "DEFAULT_ROLES",
    "INSTALLATION",
    "OPERATOR",
    "ORGANISATION",
    "SERVICE",
]

SERVICE, AUDITOR, OPERATOR, ANALYST = "service", "auditor", "operator", "analyst"
"""What users may be allowed (section 3.10): `SERVICE` the API's methods, the others pages and endpoints of their own."""

DEFAULT_ROLES = (SERVICE,)
"""The roles of a user whose record names none."""

ORGANISATION = (
    RecordKind(
        key="community",
        parameters=Parameters(
            NAME,
        ),
    ),
    RecordKind(
        key="group",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("alternative_code")),
        compact=("id", "name", "description", "alternative_code", "community_name"),
        derived={"community_name": ("community", "name")},
        parameters=Parameters(
            NAME,
            DESCRIPTION,
            ALTERNATIVE_CODE,
            RecordLink(name="community", target_kind="community"),
        ),
    ),
    RecordKind(
        key="unit",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("alternative_code")),
        compact=("id", "name", "description", "alternative_code", "group_name", "community_name"),
        derived={
            "group_name": ("group", "name"),
            "community_name": ("group", "community", "name"),
        },
        parameters=Parameters(
            NAME,
            DESCRIPTION,
            ALTERNATIVE_CODE,
            mandatory(RecordLink(name="group", target_kind="group")),
        ),
    ),
    RecordKind(
        key="user",
        identifier_fields=(ID, unique("username")),
        case_insensitive=frozenset({"username"}),
        compact=("id", "username", "person_name", "email"),
        parameters=Parameters(
            mandatory(Text(name="username", max_length=IDENTIFYING)),
            Text(name="person_name"),
            Text(name="email"),
            RecordLink(name="unit", target_kind="unit", many=True),
            mandatory(RecordLink(name="default_unit", target_kind="unit")),
            EnumerationSet(name="roles", allowed=(SERVICE, AUDITOR, OPERATOR, ANALYST)),
        ),
        secrets=("password",),
        defaults={"unit": [], "roles": [*DEFAULT_ROLES]},
    ),
    RecordKind(
        key="privacy_level",
        identifier_fields=(ID, IdentifierField("number"), IdentifierField("name")),
        compact=("id", "number", "name", "hierarchy_level"),
        parameters=Parameters(NUMBER, NAME, Integer(name="hierarchy_level")),
    ),
)
"""Section 3.6."""

INSTALLATION = (
    RecordKind(
        key="organisation",
        identifier_fields=(ID, unique("name")),
        globally_unique="name",
        parameters=Parameters(
            mandatory(NAME),
            Enumeration(name="name_display", allowed=("FIRST_LAST", "LAST_FIRST")),
            Text(name="default_country_id", max_length=IDENTIFYING),
            Enumeration(name="default_language", allowed=LANGUAGES),
            EnumerationSet(
                name="unique_person",
                allowed=("name", "id_number", "passport_number", "social_security_number"),
            ),
            EnumerationSet(name="unique_company", allowed=("name", "vat_registration_number")),
            Boolean(name="email_server_enabled"),
            Boolean(name="sms_server_enabled"),
            Text(name="default_email_address"),
            Text(name="default_sms_sender"),
            OptionalObject(
                name="content_limits",
                fields=tuple(Integer(name=media, minimum=0) for media in MEDIA_TYPES),
            ),
            OptionalObject(
                name="access_token_definition",
                fields=TOKEN_SETTINGS,
                defaults=TOKEN_DEFINITION,
            ),
            Text(name="consumer_username", max_length=IDENTIFYING),
            OptionalObject(name="guess_limits", fields=GUESS_SETTINGS, defaults=GUESS_LIMITS),
            Integer(name="notice_limit_per_hour", minimum=0, maximum=1000),
            EMAIL_SERVER,
            SMS_SERVER,
        ),
        secrets=(PASSWORD, SECRET),
        encrypted=frozenset({PASSWORD, SECRET}),
        defaults={
            "name_display": "FIRST_LAST",
            "default_country_id": "127",
            "default_language": "ENG",
            "unique_person": ["name", "id_number"],
            "unique_company": ["name", "vat_registration_number"],
            "email_server_enabled": True,
            "sms_server_enabled": True,
            "access_token_definition": TOKEN_DEFINITION,
            "guess_limits": GUESS_LIMITS,
            "notice_limit_per_hour": NOTICE_LIMIT,
        },
    ),
    RecordKind(
        key="web_api_key",
        globally_unique="key",
        parameters=Parameters(
            NUMBER,
            mandatory(
                Enumeration(
                    name="classification", allowed=("SYSTEMIC_KEY", "CONSUMER_APPLICATION_KEY")
                )
            ),
            mandatory(RecordLink(name="user", target_kind="user")),
        ),
        secrets=("key",),
    ),
)
"""Section 3.10."""
