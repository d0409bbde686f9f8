"""The fields of a service request and of its sets (contract service_requests.md, sections 6 and 7)."""

from __future__ import annotations

from domain.composite_fields import Items, Object, Reference
from domain.errors import InvalidParameterValue
from domain.fields import Field, Level, Values
from domain.identifiers import Identifiable
from domain.reference.catalogue import identifiable
from domain.reference.setup import IMPACT_LEVEL, PRIORITY_LEVEL, STATES, URGENCY_LEVEL
from domain.scalar_fields import NOTES, Date, Enumeration, Text, Whole, udf

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

UNITS_OF_TIME = "MINUTES HOURS DAYS WEEKS MONTHS YEARS"

TYPE = Reference(name="type", to=identifiable("service_request_type"))
STATUS = Reference(name="status", to=identifiable("service_request_status"))
CATEGORY = Reference(name="category", to=identifiable("service_request_category"))
REASON = Reference(
    name="cancellation_reason", to=identifiable("service_request_cancellation_reason")
)
CALLER = Reference(name="contact_information", to=identifiable("contact_information"))
LIFE_CYCLE_STATE = Enumeration(name="life_cycle_state", words=STATES)
CALLER_TEXTS: tuple[Field, ...] = (
    Text(name="caller_email", personal=True),
    Text(name="caller_phone", personal=True, since="R10"),
)
TEXTS: tuple[Field, ...] = (
    Text(name="description", longest=NOTES, personal=True),
    Text(name="notes", longest=NOTES, personal=True),
)
LEVELS: tuple[Field, ...] = (URGENCY_LEVEL, IMPACT_LEVEL, PRIORITY_LEVEL)
FILING: tuple[Field, ...] = (
    Reference(name="owned_by_group", to=identifiable("group")),
    Reference(name="privacy_level", to=identifiable("privacy_level")),
)
UDF = udf(string=8, floating=4, date=4)
START_DATE = Date(name="start_date")
COMPLETION: tuple[Field, ...] = (
    Date(name="expected_completion_date"),
    Object(
        name="estimated_completion_time",
        rows=(
            Whole(name="time_period_value", least=1),
            Enumeration(name="time_period_uot", words=UNITS_OF_TIME),
        ),
        levels=dict.fromkeys(("time_period_value", "time_period_uot"), Level.MANDATORY),
        absent_as_null=True,
    ),
)
"""When it is expected to be completed: a date, or a period from which the date follows."""

ASSIGNED_TO = Object(
    name="assigned_to",
    rows=(
        Reference(name="unit", to=identifiable("unit")),
        Reference(name="user", to=identifiable("user")),
    ),
    levels={"unit": Level.MANDATORY},
)
REFERRING_TO = Object(
    name="referring_to",
    rows=(
        Reference(name="subscription", to=identifiable("subscription")),
        Reference(name="job", to=identifiable("job")),
    ),
    closed=True,
    at_most_one=("subscription", "job"),
)


def _answer(name: str, date: str, by: str) -> Object:
    """The response or a resolution: what was said, by whom, and who accepted it for the customer."""
    return Object(
        name=name,
        rows=(
            Reference(name="category", to=identifiable(f"service_request_{name}_category")),
            Reference(name=by, to=identifiable("user")),
            Date(name=date),
            Text(name="description", longest=NOTES, personal=True),
            Reference(name="accepted_by", to=identifiable("contact_information")),
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
"""What the customer is told, in the order in which it is."""

PRODUCT = Reference(name="product", to=identifiable("product"))
INSTALLED_ITEM = Reference(name="installed_item", to=identifiable("installed_item"))
SERIAL_NUMBER = Text(name="serial_number", since="R14")
COVERAGE = Reference(
    name="warranty_coverage_reason", to=identifiable("warranty_coverage_reason"), since="R9"
)
RELATED = Reference(name="service_request", to=identifiable("service_request"))
RELATION_TEXT = Text(name="description", longest=NOTES, personal=True)
ID = Text(name="id")


def _own_number_only(item: Values, at: str) -> None:
    """An installed item has its own serial number."""
    if item.get("installed_item") and item.get("serial_number") is not None:
        raise InvalidParameterValue(f"{at}.serial_number")


SETS: dict[str, Items] = {
    items.name: items
    for items in (
        Items(
            name="services_set",
            rows=(PRODUCT,),
            shape=(ID, PRODUCT),
            entry=Identifiable("service_request_service", ("id",)),
            links=(PRODUCT,),
            needed=frozenset({"product"}),
            actions=("ADD", "REMOVE"),
        ),
        Items(
            name="physical_goods_set",
            rows=(INSTALLED_ITEM, PRODUCT, SERIAL_NUMBER, COVERAGE),
            shape=(ID, INSTALLED_ITEM, PRODUCT, SERIAL_NUMBER, COVERAGE),
            entry=Identifiable("service_request_physical_good", ("id",)),
            links=(INSTALLED_ITEM, PRODUCT),
            exactly_one=("installed_item", "product"),
            actions=("ADD", "REMOVE"),
            check=_own_number_only,
        ),
        Items(
            name="related_service_requests_set",
            rows=(RELATED, RELATION_TEXT),
            shape=(ID, RELATED, RELATION_TEXT),
            entry=Identifiable("service_request_relation", ("id",)),
            links=(RELATED,),
            needed=frozenset({"service_request"}),
            fixed=frozenset({"service_request"}),
            personal=True,
        ),
    )
}
"""The sets of a service request by parameter."""

PERSONAL = frozenset(row.name for row in (*CALLER_TEXTS, *TEXTS, *UDF) if row.personal)
