"""Methods O3 to O5: the configuration of service requests by type (service_requests.md, section 9)."""

from __future__ import annotations

from collections.abc import Iterable

from domain.composite_fields import Reference
from domain.fields import Field, JsonObject, Parameters, ResponseShape, mandatory
from domain.reference.catalogue import KINDS, identifiable
from domain.scalar_fields import Boolean, Text
from domain.service_request_fields import LIFE_CYCLE_STATE, REASON, STATUS, TYPE
from services.context import QueryResult
from services.pipeline.method import query
from services.pipeline.request import Call
from services.projections import document
from services.reference_cache import ReferenceRecord

OF_TYPE = Reference(name="service_request_type", target=TYPE.target)
DEFAULT = Boolean(name="default")
TYPES = KINDS[TYPE.target.entity].shape
STATUSES = ResponseShape("service_request_type_status", Text(name="id"), DEFAULT, STATUS)
REASONS = ResponseShape(
    "service_request_type_cancellation_reason", *KINDS[REASON.target.entity].shape.fields, DEFAULT
)
WHERE: tuple[Field, ...] = tuple(
    Reference(name=kind, target=identifiable(kind)) for kind in ("group", "unit")
)


@query(59, "service_requests/configuration/types/list", Parameters(*WHERE), TYPES, is_list=True)
def list_types(call: Call) -> QueryResult:
    """Lists the types of service requests; each of them is open to every group and unit."""
    return _query_result(
        call, TYPES, (_values(e) for e in call.directory.choosable(TYPE.target.entity))
    )


@query(
    60,
    "service_requests/configuration/statuses/list",
    Parameters(mandatory(OF_TYPE), LIFE_CYCLE_STATE),
    STATUSES,
    is_list=True,
)
def list_statuses(call: Call) -> QueryResult:
    """Lists the statuses that a type allows, of all states or of one."""
    type_ = call.directory.fields(OF_TYPE.target.entity, call.params[OF_TYPE.name])
    defaults = set((type_.get("default_status_ids") or {}).values())
    state = call.params.get(LIFE_CYCLE_STATE.name)
    statuses = (
        {"id": entry.id, "default": entry.id in defaults, "status": entry.id}
        for entry in _allowed(call, STATUS)
        if state in (None, entry.fields["life_cycle_state"])
    )
    return _query_result(call, STATUSES, statuses)


@query(
    61,
    "service_requests/configuration/cancellation_reasons/list",
    Parameters(mandatory(OF_TYPE)),
    REASONS,
    is_list=True,
)
def list_cancellation_reasons(call: Call) -> QueryResult:
    """Lists the reasons for which service requests of a type can be cancelled."""
    type_ = call.directory.fields(OF_TYPE.target.entity, call.params[OF_TYPE.name])
    default = type_.get(f"default_{REASON.name}")
    reasons = (_values(e) | {"default": e.id == default} for e in _allowed(call, REASON))
    return _query_result(call, REASONS, reasons)


def _allowed(call: Call, field: Reference) -> Iterable[ReferenceRecord]:
    """The records that the given type allows; all of them if it has no list."""
    type_ = call.directory.fields(OF_TYPE.target.entity, call.params[OF_TYPE.name])
    allowed = type_.get(f"allowed_{field.name}")
    return (
        e for e in call.directory.choosable(field.target.entity) if not allowed or e.id in allowed
    )


def _values(entry: ReferenceRecord) -> JsonObject:
    return entry.fields | {"id": entry.id}


def _query_result(call: Call, shape: ResponseShape, values: Iterable[JsonObject]) -> QueryResult:
    return QueryResult([document(shape, record, call.zone) for record in values])
