"""Customers, accounts, rewards; products and items (reference_entities.md, sections 3.2 and 3.5)."""

from __future__ import annotations

from domain.fields import mandatory
from domain.reference.fields import (
    ALTERNATIVE_CODE,
    CODE,
    DESCRIPTION,
    NAME,
    NUMBER,
    Embedded,
    state,
)
from domain.reference.records import Kind, Link
from domain.scalar_fields import Boolean, Date, Text

__all__ = ["CUSTOMERS", "PRODUCTS"]

_ACCOUNT = Link(name="accounts_receivable", to="accounts_receivable")
_CONTACT = Link(name="contact_information", to="contact_information")

CUSTOMERS = (
    Kind(
        key="accounts_receivable",
        identified="id! number! name",
        compact="id number name life_cycle_state account_owner",
        rows=(
            NUMBER,
            NAME,
            state("ACTIVE SUSPENDED TERMINATED"),
            Link(name="account_owner", to="contact_information"),
        ),
        directory=False,
    ),
    Kind(
        key="rewards_participant",
        identified="id! number!",
        compact="id number accounts_receivable",
        rows=(NUMBER, _ACCOUNT, state("ACTIVE TERMINATED")),
        directory=False,
    ),
    Kind(
        key="subscription_type",
        compact="id name description alternative_code",
        rows=(NAME, DESCRIPTION, ALTERNATIVE_CODE),
    ),
    Kind(
        key="subscription",
        identified="id! number!",
        compact="id number life_cycle_state first_activated_date rating_state"
        " accounts_receivable type",
        rows=(
            NUMBER,
            state(
                "DRAFT EFFECTIVE NOT_EFFECTIVE SHORT_TERM_EFFECTIVE SHORT_TERM_NOT_EFFECTIVE"
                " IN_RESTING CANCELLED REGRETTED REPLACED PENDING_VERIFICATION"
            ),
            Date(name="first_activated_date"),
            state("PENDING COMPLETED", name="rating_state"),
            _ACCOUNT,
            Link(name="type", to="subscription_type"),
        ),
        directory=False,
    ),
    Kind(
        key="job",
        identified="id! number!",
        compact="id number description life_cycle_state",
        rows=(
            NUMBER,
            DESCRIPTION,
            state("DRAFT PENDING IN_PROGRESS COMPLETED CANCELLED"),
            _ACCOUNT,
        ),
        directory=False,
    ),
    Kind(
        key="lead",
        identified="id! number!",
        compact="id number description life_cycle_state contact_information",
        rows=(NUMBER, DESCRIPTION, Text(name="life_cycle_state"), _CONTACT),
        directory=False,
    ),
    Kind(
        key="activity",
        identified="id! number!",
        compact="id number description life_cycle_state contact_information",
        rows=(
            NUMBER,
            DESCRIPTION,
            state("PENDING IN_PROGRESS COMPLETED CANCELLED"),
            _CONTACT,
        ),
        directory=False,
    ),
    Kind(
        key="notification",
        identified="id! number!",
        compact="id number life_cycle_state contact_information accounts_receivable",
        rows=(NUMBER, state("PENDING REJECTED COMPLETED"), _CONTACT, _ACCOUNT),
        directory=False,
    ),
)
"""Section 3.2."""

PRODUCTS = (
    Kind(
        key="product_type",
        compact="id name description alternative_code classification composition_method"
        " service_type physical_good_type used_for_provisioning",
        rows=(
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
    Kind(
        key="product",
        identified="id! code! alternative_code",
        compact="id code alternative_code description product_type",
        rows=(
            CODE,
            ALTERNATIVE_CODE,
            DESCRIPTION,
            mandatory(Link(name="product_type", to="product_type")),
        ),
        directory=False,
        common=True,
    ),
    Kind(
        key="installed_item",
        identified="id! serial_number! alternative_code",
        compact="id serial_number alternative_code state state_classification product",
        rows=(
            Text(name="serial_number"),
            ALTERNATIVE_CODE,
            state("EFFECTIVE NOT_EFFECTIVE", name="state"),
            Embedded(
                name="state_classification",
                rows=(Text(name="id"), NAME, ALTERNATIVE_CODE),
            ),
            Link(name="product", to="product"),
            Boolean(name="under_warranty"),
        ),
        defaults={"under_warranty": False},
        directory=False,
        common=True,
    ),
    Kind(
        key="warranty_coverage_reason",
        identified="id! name alternative_code",
        compact="id name alternative_code",
        rows=(NAME, ALTERNATIVE_CODE),
    ),
)
"""Section 3.5."""
