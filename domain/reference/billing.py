"""Billing and payments; rewards, customer events (reference_entities.md, sections 3.3 and 3.4)."""

from __future__ import annotations

from domain.reference.fields import CODE, DESCRIPTION, NUMBER, REFERENCE_NUMBER, state
from domain.reference.records import RecordKind, RecordLink
from domain.scalar_fields import Date, Enumeration, Integer, Number, Text

__all__ = ["BILLING", "REWARDS"]

_ACCOUNT = RecordLink(name="accounts_receivable", to="accounts_receivable")
_PARTICIPANT = RecordLink(name="rewards_participant", to="rewards_participant")
_PERFORMED_BY = RecordLink(name="performed_by_unit", to="unit")

BILLING = (
    RecordKind(
        key="currency",
        compact="id code prefix_symbol suffix_symbol life_cycle_state integer_part_name"
        " decimal_part_name",
        specs=(
            CODE,
            Text(name="prefix_symbol"),
            Text(name="suffix_symbol"),
            state("EFFECTIVE NOT_EFFECTIVE"),
            Text(name="integer_part_name"),
            Text(name="decimal_part_name"),
        ),
    ),
    RecordKind(
        key="bill",
        identifier_fields="id! number!",
        compact="id number life_cycle_state from_date to_date due_date total_billed_amount"
        " total_amount_to_be_paid bill_status currency",
        specs=(
            NUMBER,
            state("POSTED PRESENTED PRESENTED_CONFIRMED PRESENTED_REJECTED"),
            Date(name="from_date"),
            Date(name="to_date"),
            Date(name="due_date"),
            Number(name="total_billed_amount"),
            Number(name="total_amount_to_be_paid"),
            state("SETTLED UNSETTLED PARTIALLY_SETTLED", name="bill_status"),
            RecordLink(name="currency", to="currency"),
        ),
        cached=False,
    ),
    RecordKind(
        key="payment",
        identifier_fields="id! number! reference_number",
        compact="id number reference_number life_cycle_state issued_on posted_on payment_amount",
        specs=(
            NUMBER,
            REFERENCE_NUMBER,
            state("DRAFT REJECTED POSTED CANCELLED PENDING_VERIFICATION"),
            Date(name="issued_on"),
            Date(name="posted_on"),
            Number(name="payment_amount"),
        ),
        cached=False,
    ),
    RecordKind(
        key="payment_gateway_card",
        identifier_fields="id! payment_gateway_reference_number! last_digits",
        compact="id payment_gateway_reference_number brand type card_holder_name last_digits"
        " expiration_month expiration_year",
        specs=(
            Text(name="payment_gateway_reference_number"),
            Text(name="brand"),
            Text(name="type"),
            Text(name="card_holder_name"),
            Text(name="last_digits"),
            Integer(name="expiration_month"),
            Integer(name="expiration_year"),
        ),
        cached=False,
    ),
    RecordKind(
        key="payment_gateway_request",
        identifier_fields="id! number!",
        compact="id number life_cycle_state execution_date accounts_receivable payment bill",
        specs=(
            NUMBER,
            state("PENDING POSTED REJECTED"),
            Date(name="execution_date"),
            _ACCOUNT,
            RecordLink(name="payment", to="payment"),
            RecordLink(name="bill", to="bill"),
        ),
        cached=False,
    ),
)
"""Section 3.3."""

REWARDS = (
    RecordKind(
        key="award_reward_transaction",
        identifier_fields="id! number!",
        compact="id number life_cycle_state amount alternative_amount contribution_percentage"
        " expiration_date rewards_participant",
        specs=(
            NUMBER,
            state("POSTED CANCELLED"),
            Number(name="amount"),
            Number(name="alternative_amount"),
            Number(name="contribution_percentage"),
            Date(name="expiration_date"),
            _PARTICIPANT,
        ),
        cached=False,
    ),
    RecordKind(
        key="spend_reward_transaction",
        identifier_fields="id! number!",
        compact="id number life_cycle_state amount alternative_amount date rewards_participant unit",
        specs=(
            NUMBER,
            state("POSTED CANCELLED"),
            Number(name="amount"),
            Number(name="alternative_amount"),
            Date(name="date"),
            _PARTICIPANT,
            RecordLink(name="unit", to="unit"),
        ),
        cached=False,
    ),
    RecordKind(
        key="buy_in_advance_request",
        identifier_fields="id! number!",
        compact="id number duration unit_of_time description life_cycle_state billing_state"
        " billing_effective_date subscription",
        specs=(
            NUMBER,
            Number(name="duration"),
            Enumeration(name="unit_of_time", allowed="DAYS WEEKS MONTHS YEARS"),
            DESCRIPTION,
            state("EFFECTIVE CANCELLED"),
            state("RATED NOT_RATED", name="billing_state"),
            Date(name="billing_effective_date"),
            RecordLink(name="subscription", to="subscription"),
        ),
        cached=False,
    ),
    RecordKind(
        key="purchase_customer_event",
        identifier_fields="id! number! reference_number",
        compact="id number type life_cycle_state performed_on description reference_number"
        " total_amount net_amount vat_amount accounts_receivable performed_by_unit",
        specs=(
            NUMBER,
            Enumeration(name="type", allowed="PURCHASE"),
            state("POSTED CANCELLED"),
            Date(name="performed_on"),
            DESCRIPTION,
            REFERENCE_NUMBER,
            Number(name="total_amount"),
            Number(name="net_amount"),
            Number(name="vat_amount"),
            _ACCOUNT,
            _PERFORMED_BY,
        ),
        cached=False,
    ),
    RecordKind(
        key="spend_request_customer_event",
        identifier_fields="id! number! reference_number",
        compact="id number type life_cycle_state performed_on description reference_number"
        " amount accounts_receivable performed_by_unit",
        specs=(
            NUMBER,
            Enumeration(name="type", allowed="SPEND_REQUEST"),
            state("POSTED CANCELLED"),
            Date(name="performed_on"),
            DESCRIPTION,
            REFERENCE_NUMBER,
            Number(name="amount"),
            _ACCOUNT,
            _PERFORMED_BY,
        ),
        cached=False,
    ),
)
"""Section 3.4."""
