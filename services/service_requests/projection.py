"""The projection of service requests: documents for callers, and columns to find them by.

Shapes: contract service_requests.md, section 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

from domain.composite_fields import Reference
from domain.fields import Field, JsonObject, ResponseShape
from domain.reference.catalogue import identifiable
from domain.scalar_fields import Date, Text
from domain.service_request import ServiceRequest
from domain.service_request_answers import ANSWER_STATES, OPEN, is_pending
from domain.service_request_fields import (
    ANSWERS,
    ASSIGNED_TO,
    CALLER,
    CALLER_TEXTS,
    CATEGORY,
    COMPLETION,
    FILING,
    LEVELS,
    LIFE_CYCLE_STATE,
    REASON,
    REFERRING_TO,
    SETS,
    START_DATE,
    STATUS,
    TEXTS,
    TYPE,
    UDF,
)
from services.ids import format_id
from services.log_information import LOG_INFORMATION, log_information
from services.projections import (
    Projection,
    ViewRow,
    document,
    entity_row,
    projection,
    stored_references,
)

__all__ = ["COMPACT_SERVICE_REQUEST", "SERVICE_REQUEST"]

_NAMED: tuple[Field, ...] = (Text(name="id"), Text(name="number"))

COMPACT_SERVICE_REQUEST = ResponseShape(
    "service_request",
    *_NAMED,
    TEXTS[0],
    LIFE_CYCLE_STATE,
    replace(TYPE, minimal=True),
    replace(STATUS, minimal=True),
    CALLER,
)
SERVICE_REQUEST = ResponseShape(
    "full_service_request",
    *_NAMED,
    *TEXTS,
    LIFE_CYCLE_STATE,
    *CALLER_TEXTS,
    *LEVELS,
    START_DATE,
    COMPLETION[0],
    Date(name="actual_completed_date"),
    COMPLETION[1],
    *UDF,
    Reference(name="accounts_receivable", target=identifiable("accounts_receivable")),
    CALLER,
    TYPE,
    STATUS,
    CATEGORY,
    ASSIGNED_TO,
    REFERRING_TO,
    *ANSWERS,
    REASON,
    *SETS.values(),
    *FILING,
    LOG_INFORMATION,
)


@projection(ServiceRequest)
def service_request(
    request: ServiceRequest, settings: Mapping[str, Any], zone: ZoneInfo
) -> Projection:
    """A service request: its row and its compact object."""
    columns = _columns(request)
    values = request.details | request.answers | request.sets | columns
    values |= {
        "number": request.number,
        "status": request.status,
        "actual_completed_date": request.completed_date,
        "cancellation_reason": request.cancellation_reason,
        "log_information": log_information(request.created, request.stamp, zone),
    }
    result = Projection(
        full=document(SERVICE_REQUEST, values, zone),
        compact=document(COMPACT_SERVICE_REQUEST, values, zone),
        names={"number": request.number},
        owners=(
            f"accounts_receivable/{request.accounts_receivable}",
            f"contact_information/{request.contact_information}",
        ),
    )
    refs = stored_references(result.full)
    result.rows = [
        ViewRow("service_requests", request.id, request.version, columns, result.full, refs),
        entity_row("service_request", request, columns["id"], result, result.names),
    ]
    return result


def _columns(request: ServiceRequest) -> JsonObject:
    """The columns for searches; ``due`` is the expected completion while it is open."""
    is_open = request.state in OPEN
    last = next((name for name, state in ANSWER_STATES.items() if state == request.state), "")
    return {
        "id": format_id(request.id),
        "accounts_receivable": request.accounts_receivable,
        "contact_information": request.contact_information,
        "type": request.type,
        "category": request.details.get("category"),
        "life_cycle_state": request.state,
        "pending_acceptance": is_pending(request.answers.get(last)),
        "due": request.details.get("expected_completion_date") if is_open else None,
    }
