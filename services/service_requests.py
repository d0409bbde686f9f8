"""Methods 47 to 56: service requests are opened, and go their way (service_requests.md, section 6)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from uuid import UUID

from domain.aggregate import Aggregate
from domain.communication import Communication
from domain.credentials import TokenReference
from domain.errors import InvalidStatus, MandatoryParameter
from domain.fields import Field, Level, Parameters, Row, Values, keep, mandatory, when
from domain.nested import Reference
from domain.queue_entry import QueueEntry
from domain.reference_entities import identifiable
from domain.service_levels import check_dates
from domain.service_request import ServiceRequest
from domain.service_request_fields import (
    ANSWERS,
    ASSIGNED_TO,
    CALLER,
    CALLER_TEXTS,
    CATEGORY,
    COMPLETION,
    FILING,
    LEVELS,
    REFERRING_TO,
    SETS,
    START_DATE,
    STATUS,
    TEXTS,
    TYPE,
    UDF,
)
from services.call import Call
from services.endpoint import command, create
from services.service_request_details import amended, case_of, opened, texts
from services.service_request_documents import SERVICE_REQUEST
from services.service_request_notices import NOTICE_NUMBERS, notices
from services.service_request_rules import (
    check,
    check_allowed,
    check_contact,
    default_of,
    looked_at,
    state_of,
    type_of,
)
from services.service_request_sets import apply_items, products_looked_at

ON = Reference(name="service_request", to=identifiable("service_request"))
REASON = Reference(
    name="cancellation_reason", to=identifiable("service_request_cancellation_reason")
)
ACCEPTED_BY = Reference(name="accepted_by", to=identifiable("contact_information"))
RESPONSE, TEMPORARY_RESOLUTION, FINAL_RESOLUTION = ANSWERS

Announced = Iterable[Communication | QueueEntry]


def _status_for_resolutions(given: Values) -> None:
    """An update that resolves says in which status (section 6.2); and dates are in their order."""
    check_dates(given)
    for row in (TEMPORARY_RESOLUTION, FINAL_RESOLUTION):
        if given.get(row.name) is not None and given.get(STATUS.name) is None:
            raise MandatoryParameter(STATUS.parameter)


def _both(call: Call) -> Iterator[UUID]:
    return chain(looked_at(call), products_looked_at(call))


CREATE = Parameters(
    mandatory(TYPE),
    mandatory(
        TokenReference(name="accounts_receivable", to=identifiable("accounts_receivable"))
    ),
    CALLER,
    *CALLER_TEXTS,
    *TEXTS,
    mandatory(STATUS),
    mandatory(CATEGORY),
    *map(mandatory, LEVELS[:2]),
    *FILING,
    *UDF,
    START_DATE,
    *COMPLETION,
    ASSIGNED_TO,
    REFERRING_TO,
    *ANSWERS,
    *SETS.values(),
    exactly_one=[row.name for row in COMPLETION],
    check=check_dates,
)
UPDATE = Parameters(
    mandatory(ON),
    *CALLER_TEXTS,
    *TEXTS,
    keep(CATEGORY),
    *map(keep, LEVELS[:2]),
    *(keep(row) if row.name == "owned_by_group" else row for row in FILING),
    *UDF,
    keep(START_DATE),
    *COMPLETION,
    keep(replace(ASSIGNED_TO, levels={"unit": Level.KEPT})),
    REFERRING_TO,
    keep(STATUS),
    *ANSWERS,
    *(items.for_update() for items in SETS.values()),
    at_most_one=[row.name for row in COMPLETION],
    check=_status_for_resolutions,
)


@create(
    47,
    "service_requests/create",
    CREATE,
    SERVICE_REQUEST,
    numbers=("service_request", *NOTICE_NUMBERS),
    also=_both,
    consumers=True,
)
def create_(call: Call) -> list[Aggregate]:
    """Opens a service request, in any state but cancelled."""
    id_ = call.new_id()
    case, payload = opened(call, id_)
    request = ServiceRequest.begin(ServiceRequest.Opened, call.by, id=id_, **payload)
    request.proceed(case.to, case.status, case.given, call.now, call.by)
    return [request, *notices(request, "", call)]


def _on(number: int, path: str, *rows: Row | Field, **more: object):  # type: ignore[no-untyped-def]
    ...
