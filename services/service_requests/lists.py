"""Methods 35 to 46: showing and listing service requests (service_requests.md, 6.11 and 6.12)."""

from __future__ import annotations

from typing import Any

from domain.composite_fields import Reference
from domain.fields import Field, JsonObject, Parameters, mandatory
from domain.reference.catalogue import identifiable
from domain.scalar_fields import Enumeration, NonNegativeInteger
from domain.scheduling import later_or_max
from domain.service_request_fields import CATEGORY, TYPE, UNITS_OF_TIME
from services.context import ViewQuery
from services.pipeline.method import query
from services.pipeline.paging import PAGING, page
from services.pipeline.request import Call
from services.service_requests.projection import SERVICE_REQUEST

ON = Reference(name="service_request", target=identifiable("service_request"))
FILTERS: tuple[Field, ...] = (
    Reference(name="accounts_receivable", target=identifiable("accounts_receivable")),
    TYPE,
    Reference(name="caller", target=identifiable("contact_information")),
)
ANY = Parameters(*FILTERS, CATEGORY, *PAGING)
SOME = Parameters(*FILTERS, CATEGORY, *PAGING, at_least_one=[field.name for field in FILTERS])
WITHIN = Parameters(
    mandatory(NonNegativeInteger(name="period")),
    mandatory(Enumeration(name="uot", allowed=UNITS_OF_TIME)),
    *FILTERS[:2],
    *PAGING,
)
BY_DUE_DATE = ("due", "created")
LISTED: JsonObject = {"response": SERVICE_REQUEST, "is_list": True, "open_to_consumers": True}


@query(
    35,
    "service_requests/show",
    Parameters(mandatory(ON)),
    SERVICE_REQUEST,
    open_to_consumers=True,
    prefetch_from="service_requests",
)
def show(call: Call) -> ViewQuery:
    """Shows one service request."""
    return ViewQuery("service_requests", {"id": call.params["service_request"]})


@query(36, "service_requests/list", SOME, **LISTED)
def list_(call: Call) -> ViewQuery:
    """Lists the service requests of an account, of a type, of a caller, or of several of them."""
    return _page(call)


@query(37, "service_requests/get_overdue", ANY, **LISTED)
def get_overdue(call: Call) -> ViewQuery:
    """Lists the open service requests that should have been completed by now."""
    return _page(call, order=BY_DUE_DATE, due={"<": call.wall_clock})


@query(38, "service_requests/get_pending", ANY, **LISTED)
def get_pending(call: Call) -> ViewQuery:
    """Lists the service requests to which nobody has responded."""
    return _page(call, life_cycle_state="PENDING")


@query(39, "service_requests/get_close_to_estimated_completion_time", WITHIN, **LISTED)
def get_close_to_estimated_completion_time(call: Call) -> ViewQuery:
    """Lists the open service requests that should be completed within a period from now."""
    until = later_or_max(call.wall_clock, call.params["period"], call.params["uot"])
    return _page(call, order=BY_DUE_DATE, due={">=": call.wall_clock, "<=": until})


@query(40, "service_requests/get_responded", ANY, **LISTED)
def get_responded(call: Call) -> ViewQuery:
    """Lists the service requests whose customer was given a response."""
    return _page(call, life_cycle_state="RESPONDED")


@query(41, "service_requests/get_responded_pending_acceptance", ANY, **LISTED)
def get_responded_pending_acceptance(call: Call) -> ViewQuery:
    """Lists the service requests whose response waits to be accepted."""
    return _page(call, life_cycle_state="RESPONDED", pending_acceptance=True)


@query(42, "service_requests/get_temporary_resolved", ANY, **LISTED)
def get_temporary_resolved(call: Call) -> ViewQuery:
    """Lists the service requests that are resolved for the time being."""
    return _page(call, life_cycle_state="TEMPORARY_RESOLVED")


@query(43, "service_requests/get_temporary_resolved_pending_acceptance", ANY, **LISTED)
def get_temporary_resolved_pending_acceptance(call: Call) -> ViewQuery:
    """Lists the service requests whose temporary resolution waits to be accepted."""
    return _page(call, life_cycle_state="TEMPORARY_RESOLVED", pending_acceptance=True)


@query(44, "service_requests/get_final_resolved", ANY, **LISTED)
def get_final_resolved(call: Call) -> ViewQuery:
    """Lists the service requests that are resolved for good."""
    return _page(call, life_cycle_state="FINAL_RESOLVED")


@query(45, "service_requests/get_final_resolved_pending_acceptance", ANY, **LISTED)
def get_final_resolved_pending_acceptance(call: Call) -> ViewQuery:
    """Lists the service requests whose final resolution waits to be accepted."""
    return _page(call, life_cycle_state="FINAL_RESOLVED", pending_acceptance=True)


@query(46, "service_requests/get_completed", ANY, **LISTED)
def get_completed(call: Call) -> ViewQuery:
    """Lists the completed service requests."""
    return _page(call, life_cycle_state="COMPLETED")


def _page(call: Call, order: tuple[str, ...] = ("created",), **where: Any) -> ViewQuery:
    filters = {field.name: call.params.get(field.name) for field in (*FILTERS, CATEGORY)}
    filters["contact_information"] = filters.pop("caller")
    return page("service_requests", filters | where, call.params, order=order)
