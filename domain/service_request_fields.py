"""The fields of a service request and of its sets (contract service_requests.md, sections 6 and 7)."""

from __future__ import annotations

from domain.composite_fields import ItemSet, Object, Reference
from domain.errors import InvalidParameterValue
from domain.fields import Field, JsonObject, Level
from domain.identifiers import IdentifierFields
from domain.reference.catalogue import identifiable
from domain.reference.setup import (
    IMPACT_LEVEL,
    PRIORITY_LEVEL,
    SERVICE_REQUEST_STATES,
    URGENCY_LEVEL,
)
from domain.scalar_fields import (
    IDENTIFYING,
    NOTES,
    Date,
    Enumeration,
    NonNegativeInteger,
    Text,
    udf,
)

__all__ = [
    "ANSWERS",
    "ASSIGNED_TO",
    "CALLER",
    "CALLER_TEXTS",
    "CATEGORY",
    "COMPLETION",
    "FILING",
    "LEVELS",
    "LIFE_CYCLE_STATE",
    "PERSONAL",
    "REASON",
    "REFERRING_TO",
    "SETS",
    "START_DATE",
    "STATUS",
    "TEXTS",
    "TYPE",
    "UDF",
    "UNITS_OF_TIME",
]

UNITS_OF_TIME = ("MINUTES", "HOURS", "DAYS", "WEEKS", "MONTHS", "YEARS")

TYPE = Reference(name="type", target=identifiable("service_request_type"))
STATUS = Reference(name="status", target=identifiable("service_request_status"))
CATEGORY = Reference(name="category", target=identifiable("service_request_category"))
REASON = Reference(
    name="cancellation_reason", target=identifiable("service_request_cancellation_reason")
)
CALLER = Reference(name="contact_information", target=identifiable("contact_information"))
LIFE_CYCLE_STATE = Enumeration(name="life_cycle_state", allowed=SERVICE_REQUEST_STATES)
CALLER_TEXTS: tuple[Field, ...] = (
    Text(name="caller_email", personal=True),
    Text(name="caller_phone", personal=True, since="R10"),
)
TEXTS: tuple[Field, ...] = (
    Text(name="description", max_length=NOTES, personal=True),
    Text(name="notes", max_length=NOTES, personal=True),
)
LEVELS: tuple[Field, ...] = (URGENCY_LEVEL, IMPACT_LEVEL, PRIORITY_LEVEL)
FILING: tuple[Field, ...] = (
    Reference(name="owned_by_group", target=identifiable("group")),
    Reference(name="privacy_level", target=identifiable("privacy_level")),
)
UDF = udf(string=8, floating=4, date=4)
START_DATE = Date(name="start_date")
COMPLETION: tuple[Field, ...] = (
    Date(name="expected_completion_date"),
    Object(
        name="estimated_completion_time",
        fields=(
            NonNegativeInteger(name="time_period_value", minimum=1),
            Enumeration(name="time_period_uot", allowed=UNITS_OF_TIME),
        ),
        levels=dict.fromkeys(("time_period_value", "time_period_uot"), Level.MANDATORY),
        absent_as_null=True,
    ),
)
"""The expected completion: a date, or a period from which the date follows."""

ASSIGNED_TO = Object(
    name="assigned_to",
    fields=(
        Reference(name="unit", target=identifiable("unit")),
        Reference(name="user", target=identifiable("user")),
    ),
    levels={"unit": Level.MANDATORY},
)
REFERRING_TO = Object(
    name="referring_to",
    fields=(
        Reference(name="subscription", target=identifiable("subscription")),
        Reference(name="job", target=identifiable("job")),
    ),
    forbid_unknown=True,
    at_most_one=("subscription", "job"),
)


def _answer(name: str, date: str, by: str) -> Object:
    """The object of a response or resolution: its author and text, and who accepted it."""
    return Object(
        name=name,
        fields=(
            Reference(name="category", target=identifiable(f"service_request_{name}_category")),
            Reference(name=by, target=identifiable("user")),
            Date(name=date),
            Text(name="description", max_length=NOTES, personal=True),
            Reference(name="accepted_by", target=identifiable("contact_information")),
            Date(name="accepted_date"),
        ),
        levels=dict.fromkeys(("category", by, date), Level.MANDATORY),
        absent_as_null=True,
    )


ANSWERS: tuple[Object, ...] = (
    _answer("response", "response_date", "responded_by"),
    _answer("temporary_resolution", "temporary_resolution_date", "temporary_resolved_by"),
    _answer("final_resolution", "final_resolution_date", "final_resolved_by"),
)
"""The response and the resolutions, in the order in which they are given."""

PRODUCT = Reference(name="product", target=identifiable("product"))
INSTALLED_ITEM = Reference(name="installed_item", target=identifiable("installed_item"))
SERIAL_NUMBER = Text(name="serial_number", max_length=IDENTIFYING, since="R14")
COVERAGE = Reference(
    name="warranty_coverage_reason", target=identifiable("warranty_coverage_reason"), since="R9"
)
RELATED = Reference(name="service_request", target=identifiable("service_request"))
RELATION_TEXT = Text(name="description", max_length=NOTES, personal=True)
ID = Text(name="id")


def _check_serial_number(item: JsonObject, path: str) -> None:
    """Refuses a serial number beside an installed item, which has its own."""
    if item.get("installed_item") and item.get("serial_number") is not None:
        raise InvalidParameterValue(f"{path}.serial_number")


SETS: dict[str, ItemSet] = {
    items.name: items
    for items in (
        ItemSet(
            name="services_set",
            fields=(PRODUCT,),
            response_fields=(ID, PRODUCT),
            item_identifier=IdentifierFields("service_request_service", ("id",)),
            links=(PRODUCT,),
            required=frozenset({"product"}),
            actions=("ADD", "REMOVE"),
        ),
        ItemSet(
            name="physical_goods_set",
            fields=(INSTALLED_ITEM, PRODUCT, SERIAL_NUMBER, COVERAGE),
            response_fields=(ID, INSTALLED_ITEM, PRODUCT, SERIAL_NUMBER, COVERAGE),
            item_identifier=IdentifierFields("service_request_physical_good", ("id",)),
            links=(INSTALLED_ITEM, PRODUCT),
            exactly_one=("installed_item", "product"),
            actions=("ADD", "REMOVE"),
            check=_check_serial_number,
        ),
        ItemSet(
            name="related_service_requests_set",
            fields=(RELATED, RELATION_TEXT),
            response_fields=(ID, RELATED, RELATION_TEXT),
            item_identifier=IdentifierFields("service_request_relation", ("id",)),
            links=(RELATED,),
            required=frozenset({"service_request"}),
            fixed=frozenset({"service_request"}),
            personal=True,
        ),
    )
}
"""The sets of a service request by parameter."""

PERSONAL = frozenset(field.name for field in (*CALLER_TEXTS, *TEXTS, *UDF) if field.personal)
