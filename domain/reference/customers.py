"""Customers, accounts, rewards; products and items (reference_entities.md, sections 3.2 and 3.5)."""

from __future__ import annotations

from domain.fields import Parameters, mandatory
from domain.reference.fields import (
    ALTERNATIVE_CODE,
    CODE,
    DESCRIPTION,
    NAME,
    NUMBER,
    OptionalObject,
    state,
)
from domain.reference.records import ID, IdentifierField, RecordKind, RecordLink, unique
from domain.scalar_fields import IDENTIFYING, Boolean, Date, Text

__all__ = ["CUSTOMERS", "PRODUCTS"]

_ACCOUNT = RecordLink(name="accounts_receivable", target_kind="accounts_receivable")
_CONTACT = RecordLink(name="contact_information", target_kind="contact_information")

CUSTOMERS = (
    RecordKind(
        key="accounts_receivable",
        identifier_fields=(ID, unique("number"), IdentifierField("name")),
        compact=("id", "number", "name", "life_cycle_state", "account_owner"),
        parameters=Parameters(
            NUMBER,
            NAME,
            state("ACTIVE", "SUSPENDED", "TERMINATED"),
            RecordLink(name="account_owner", target_kind="contact_information"),
        ),
        cached=False,
    ),
    RecordKind(
        key="rewards_participant",
        identifier_fields=(ID, unique("number")),
        compact=("id", "number", "accounts_receivable"),
        parameters=Parameters(NUMBER, _ACCOUNT, state("ACTIVE", "TERMINATED")),
        cached=False,
    ),
    RecordKind(
        key="subscription_type",
        compact=("id", "name", "description", "alternative_code"),
        parameters=Parameters(NAME, DESCRIPTION, ALTERNATIVE_CODE),
    ),
    RecordKind(
        key="subscription",
        identifier_fields=(ID, unique("number")),
        compact=(
            "id",
            "number",
            "life_cycle_state",
            "first_activated_date",
            "rating_state",
            "accounts_receivable",
            "type",
        ),
        parameters=Parameters(
            NUMBER,
            state(
                "DRAFT",
                "EFFECTIVE",
                "NOT_EFFECTIVE",
                "SHORT_TERM_EFFECTIVE",
                "SHORT_TERM_NOT_EFFECTIVE",
                "IN_RESTING",
                "CANCELLED",
                "REGRETTED",
                "REPLACED",
                "PENDING_VERIFICATION",
            ),
            Date(name="first_activated_date"),
            state("PENDING", "COMPLETED", name="rating_state"),
            _ACCOUNT,
            RecordLink(name="type", target_kind="subscription_type"),
        ),
        cached=False,
    ),
    RecordKind(
        key="job",
        identifier_fields=(ID, unique("number")),
        compact=("id", "number", "description", "life_cycle_state"),
        parameters=Parameters(
            NUMBER,
            DESCRIPTION,
            state("DRAFT", "PENDING", "IN_PROGRESS", "COMPLETED", "CANCELLED"),
            _ACCOUNT,
        ),
        cached=False,
    ),
    RecordKind(
        key="lead",
        identifier_fields=(ID, unique("number")),
        compact=("id", "number", "description", "life_cycle_state", "contact_information"),
        parameters=Parameters(NUMBER, DESCRIPTION, Text(name="life_cycle_state"), _CONTACT),
        cached=False,
    ),
    RecordKind(
        key="activity",
        identifier_fields=(ID, unique("number")),
        compact=("id", "number", "description", "life_cycle_state", "contact_information"),
        parameters=Parameters(
            NUMBER,
            DESCRIPTION,
            state("PENDING", "IN_PROGRESS", "COMPLETED", "CANCELLED"),
            _CONTACT,
        ),
        cached=False,
    ),
    RecordKind(
        key="notification",
        identifier_fields=(ID, unique("number")),
        compact=("id", "number", "life_cycle_state", "contact_information", "accounts_receivable"),
        parameters=Parameters(
            NUMBER, state("PENDING", "REJECTED", "COMPLETED"), _CONTACT, _ACCOUNT
        ),
        cached=False,
    ),
)
"""Section 3.2."""

PRODUCTS = (
    RecordKind(
        key="product_type",
        compact=(
            "id",
            "name",
            "description",
            "alternative_code",
            "classification",
            "composition_method",
            "service_type",
            "physical_good_type",
            "used_for_provisioning",
        ),
        parameters=Parameters(
            NAME,
            DESCRIPTION,
            ALTERNATIVE_CODE,
            Text(name="classification"),
            Text(name="composition_method"),
            Text(name="service_type"),
            Text(name="physical_good_type"),
            Boolean(name="used_for_provisioning"),
        ),
        defaults={"used_for_provisioning": False},
    ),
    RecordKind(
        key="product",
        identifier_fields=(ID, unique("code"), IdentifierField("alternative_code")),
        compact=("id", "code", "alternative_code", "description", "product_type"),
        parameters=Parameters(
            CODE,
            ALTERNATIVE_CODE,
            DESCRIPTION,
            mandatory(RecordLink(name="product_type", target_kind="product_type")),
        ),
        cached=False,
        shared=True,
    ),
    RecordKind(
        key="installed_item",
        identifier_fields=(ID, unique("serial_number"), IdentifierField("alternative_code")),
        compact=(
            "id",
            "serial_number",
            "alternative_code",
            "state",
            "state_classification",
            "product",
        ),
        parameters=Parameters(
            Text(name="serial_number", max_length=IDENTIFYING),
            ALTERNATIVE_CODE,
            state("EFFECTIVE", "NOT_EFFECTIVE", name="state"),
            OptionalObject(
                name="state_classification",
                fields=(Text(name="id"), NAME, ALTERNATIVE_CODE),
            ),
            RecordLink(name="product", target_kind="product"),
            Boolean(name="under_warranty"),
        ),
        defaults={"under_warranty": False},
        cached=False,
        shared=True,
    ),
    RecordKind(
        key="warranty_coverage_reason",
        identifier_fields=(ID, IdentifierField("name"), IdentifierField("alternative_code")),
        compact=("id", "name", "alternative_code"),
        parameters=Parameters(NAME, ALTERNATIVE_CODE),
    ),
)
"""Section 3.5."""
