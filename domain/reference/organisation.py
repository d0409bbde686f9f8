"""The organisation and its installation (reference_entities.md, sections 3.6 and 3.10)."""

from __future__ import annotations

from domain.fields import mandatory
from domain.reference.delivery_servers import EMAIL_SERVER, PASSWORD, SECRET, SMS_SERVER
from domain.reference.fields import (
    ALTERNATIVE_CODE,
    DESCRIPTION,
    GUESS_LIMITS,
    GUESS_SETTINGS,
    MEDIA,
    NAME,
    NUMBER,
    TOKEN_DEFINITION,
    TOKEN_SETTINGS,
    Embedded,
    Words,
)
from domain.reference.records import Kind, Link
from domain.scalar_fields import Boolean, Enumeration, Integer, Text

__all__ = ["INSTALLATION", "ORGANISATION"]

ORGANISATION = (
    Kind(key="community", rows=(NAME,)),
    Kind(
        key="group",
        identified="id! name alternative_code",
        compact="id name description alternative_code community_name",
        derived={"community_name": ("community", "name")},
        rows=(
            NAME,
            DESCRIPTION,
            ALTERNATIVE_CODE,
            Link(name="community", to="community"),
        ),
    ),
    Kind(
        key="unit",
        identified="id! name alternative_code",
        compact="id name description alternative_code group_name community_name",
        derived={
            "group_name": ("group", "name"),
            "community_name": ("group", "community", "name"),
        },
        rows=(
            NAME,
            DESCRIPTION,
            ALTERNATIVE_CODE,
            mandatory(Link(name="group", to="group")),
        ),
    ),
    Kind(
        key="user",
        identified="id! username!",
        folded="username",
        compact="id username person_name email",
        rows=(
            mandatory(Text(name="username")),
            Text(name="person_name"),
            Text(name="email"),
            Link(name="unit", to="unit", many=True),
            mandatory(Link(name="default_unit", to="unit")),
            Words(name="roles", words="service auditor operator analyst"),
        ),
        secrets=("password",),
        defaults={"unit": [], "roles": ["service"]},
    ),
    Kind(
        key="privacy_level",
        identified="id! number name",
        compact="id number name hierarchy_level",
        rows=(NUMBER, NAME, Integer(name="hierarchy_level")),
    ),
)
"""Section 3.6."""

INSTALLATION = (
    Kind(
        key="organisation",
        identified="id! name!",
        worldwide="name",
        rows=(
            mandatory(NAME),
            Enumeration(name="name_display", words="FIRST_LAST LAST_FIRST"),
            Text(name="default_country_id"),
            Words(
                name="unique_person",
                words="name id_number passport_number social_security_number",
            ),
            Words(name="unique_company", words="name vat_registration_number"),
            Boolean(name="email_server_enabled"),
            Boolean(name="sms_server_enabled"),
            Text(name="default_email_address"),
            Text(name="default_sms_sender"),
            Embedded(
                name="content_limits",
                rows=tuple(Integer(name=media, least=0) for media in MEDIA.split()),
            ),
            Embedded(
                name="access_token_definition",
                rows=TOKEN_SETTINGS,
                defaults=TOKEN_DEFINITION,
            ),
            Text(name="consumer_username"),
            Embedded(name="guess_limits", rows=GUESS_SETTINGS, defaults=GUESS_LIMITS),
            EMAIL_SERVER,
            SMS_SERVER,
        ),
        secrets=(PASSWORD, SECRET),
        sealed=frozenset({PASSWORD, SECRET}),
        defaults={
            "name_display": "FIRST_LAST",
            "default_country_id": "127",
            "unique_person": ["name", "id_number"],
            "unique_company": ["name", "vat_registration_number"],
            "email_server_enabled": True,
            "sms_server_enabled": True,
            "access_token_definition": TOKEN_DEFINITION,
            "guess_limits": GUESS_LIMITS,
        },
    ),
    Kind(
        key="web_api_key",
        worldwide="key",
        rows=(
            NUMBER,
            mandatory(
                Enumeration(name="classification", words="SYSTEMIC_KEY CONSUMER_APPLICATION_KEY")
            ),
            mandatory(Link(name="user", to="user")),
        ),
        secrets=("key",),
    ),
)
"""Section 3.10."""
