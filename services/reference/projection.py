"""The projections of registered records and of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from domain.fields import JsonObject
from domain.identifiers import normalised
from domain.reference.catalogue import KINDS
from domain.reference.records import Record, RecordKind
from domain.session import Session
from services.ids import format_id
from services.projections import Projection, ViewRow, document, entity_row, projection

__all__ = ["global_claim"]


def global_claim(kind: str, name: str) -> str:
    """The claim of a name that is unique over all organisations."""
    return f"{kind}={normalised('name', name)}"


@projection(Record)
def record(record: Record, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A registered record: its row, and if its kind is not cached, its compact object."""
    kind = KINDS[record.kind]
    result = Projection(full=orjson.dumps(record.fields), retired=record.is_retired)
    result.extra = {"retired": record.is_retired or None, "secrets": record.secrets}
    identifying_values = kind.identifying_values(record.fields, record.record_id)
    if not record.is_retired:
        result.claims = _claims(kind, record.fields, identifying_values)
        if record.fields.get(kind.globally_unique):
            name = global_claim(kind.key, record.fields[kind.globally_unique])
            result.global_claims = {name: kind.globally_unique}
    columns: JsonObject = {"kind": kind.key, "id": record.record_id, "retired": record.is_retired}
    columns |= {"directory": kind.cached, "session_epoch": record.session_epoch}
    result.rows = [ViewRow("records", record.id, record.version, columns, result.full)]
    if not kind.cached:
        values = record.fields | {"id": record.record_id}
        result.compact = document(kind.shape, values, zone)
        result.names = {name: v for name, v in identifying_values.items() if name != "id"}
        result.owners = list(kind.owners(record.fields))
        result.rows.append(entity_row(kind.key, record, record.record_id, result, result.names))
    return result


def _claims(kind: RecordKind, fields: JsonObject, identifying: Mapping[str, str]) -> dict[str, str]:
    """The claims on values that no other current record of the organisation may have."""
    claims = {
        f"{kind.key}.{name}={identifying[name]}": name
        for name in kind.unique_fields
        if name in identifying and name != kind.globally_unique
    }
    if kind.unique_together:
        values = "\x1e".join(str(fields[name]) for name in kind.unique_together)
        claims[f"{kind.key}={values}"] = ", ".join(kind.unique_together)
    return claims


@projection(Session)
def session(session: Session, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A session as every call checks it; no call shows it."""
    user = f"user/{session.user}"
    customer_epochs = {ref: epoch for ref, epoch in session.epochs.items() if ref != user}
    columns: JsonObject = {
        "id": format_id(session.id),
        "user_id": session.user,
        "unit_id": session.unit,
        "expires_at": session.expires_at,
        "released": session.state == "RELEASED",
        "user_epoch": session.epochs.get(user, 0),
        "customer_epochs": customer_epochs or None,
    }
    extra: JsonObject = {
        "life_cycle_state": session.state,
        "user": {"$ref": user},
        "unit": {"$ref": f"unit/{session.unit}"},
        "expires_at": session.expires_at,
        "consumer": session.consumer,
    }
    columns |= session.consumer
    rows = [ViewRow("sessions", session.id, session.version, columns)]
    return Projection(rows=rows, extra=extra)
