"""Every entity that callers can name, and what an operator can register of it.

`KINDS` follows reference_entities.md, sections 3.2 to 3.10, in their order, and ends with webhooks,
an extension of ours; `ENTITIES` adds what the service owns itself (section 3.1). The kinds are
declared in the other modules of this package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from domain.fields import ResponseShape
from domain.identifiers import IdentifierFields
from domain.reference.billing import BILLING, REWARDS
from domain.reference.customers import CUSTOMERS, PRODUCTS
from domain.reference.delivery_servers import PASSWORD, SECRET
from domain.reference.organisation import INSTALLATION, ORGANISATION
from domain.reference.records import RecordKind
from domain.reference.setup import COMMUNICATIONS, CONTACTS, SERVICE_REQUESTS
from domain.reference.webhooks import signing_secret, webhook_kind
from domain.scalar_fields import Text
from domain.token_credentials import ACCESS_TOKEN

__all__ = ["CACHED_SHAPES", "ENTITIES", "KINDS", "REFERRING_TO", "SECRETS", "identifiable"]


def _by_key(kinds: Iterable[RecordKind]) -> dict[str, RecordKind]:
    by_key: dict[str, RecordKind] = {}
    for kind in kinds:
        if by_key.setdefault(kind.key, kind) is not kind:
            raise TypeError(f"two kinds are called {kind.key}")
    return by_key


def _by_entity(entities: Iterable[IdentifierFields]) -> dict[str, IdentifierFields]:
    by_entity: dict[str, IdentifierFields] = {}
    for identifiable_fields in entities:
        if (
            by_entity.setdefault(identifiable_fields.entity, identifiable_fields)
            is not identifiable_fields
        ):
            raise TypeError(f"two entities are called {identifiable_fields.entity}")
    return by_entity


KINDS: dict[str, RecordKind] = _by_key(
    (
        *CUSTOMERS,
        *BILLING,
        *REWARDS,
        *PRODUCTS,
        *ORGANISATION,
        *COMMUNICATIONS,
        *CONTACTS,
        *SERVICE_REQUESTS,
        *INSTALLATION,
        webhook_kind(lambda: KINDS),
    )
)
"""The kinds of record that can be registered, by key."""

CACHED_SHAPES: dict[str, tuple[RecordKind, ResponseShape]] = {
    shape.name: (kind, shape) for kind in KINDS.values() if kind.cached for shape in kind.shapes
}
"""The objects of cached records in responses, by name, each with its kind."""

_OWNED = (
    IdentifierFields(
        "contact_information",
        (
            "id",
            "number",
            "id_number",
            "passport_number",
            "social_security_number",
            "vat_registration_number",
            "registration_number",
        ),
    ),
    IdentifierFields("communication", ("id", "number")),
    IdentifierFields("communication_queue", ("id", "number")),
    ACCESS_TOKEN,
    IdentifierFields("service_request", ("id", "number")),
)

ENTITIES: dict[str, IdentifierFields] = _by_entity(
    (*_OWNED, *(kind.identifiable for kind in KINDS.values()))
)
"""The identifier fields of every entity, by its name; of an access token those of the plain form."""


def _key(text: str) -> str | None:
    key = text.strip().upper()
    return key if re.fullmatch(r"[0-9A-F]{32}", key) else None


def _line(text: str) -> str | None:
    return text if text.isprintable() else None


SECRETS: dict[str, Text] = {
    "password": Text(name="password"),
    "key": Text(name="key", clean=_key),
    "secret": Text(name="secret", clean=signing_secret),
    PASSWORD: Text(name=PASSWORD, clean=_line),
    SECRET: Text(name=SECRET, clean=_line),
}
"""The fields by which secrets are read, by name; a secret never becomes a field of the record."""

REFERRING_TO: tuple[str, ...] = (
    "subscription",
    "accounts_receivable",
    "activity",
    "job",
    "communication",
    "bill",
    "notification",
    "payment",
    "payment_gateway_card",
    "payment_gateway_request",
    "service_request",
    "rewards_participant",
    "award_reward_transaction",
    "spend_reward_transaction",
    "lead",
    "buy_in_advance_request",
    "access_token",
    "purchase_customer_event",
    "spend_request_customer_event",
)
"""The entities that a communication can refer to (communications.md, section 3)."""


def identifiable(entity: str) -> IdentifierFields:
    """The identifier fields of an entity. Raises `KeyError` for an unknown name."""
    return ENTITIES[entity]
