"""What is read of registered records and of sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from domain.fields import Values
from domain.reference.catalogue import KINDS
from domain.reference.records import Kind, Record
from domain.session import Session
from services.ids import id_text
from services.projections import Projection, Row, document, entity_row, projection

__all__ = ["worldwide_name"]


def worldwide_name(kind: str, name: str) -> str:
    """The claim of a name that is unique over all organisations."""
    return f"{kind}={name.strip()}"


@projection(Record)
def record(record: Record, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A registered record: as it was registered, and outside the directory its compact object."""
    kind = KINDS[record.kind]
    shown = Projection(full=orjson.dumps(record.fields), retired=record.is_retired)
    shown.beside = {"retired": record.is_retired or None, "secrets": record.secrets}
    identifying = kind.identifying(record.fields, record.record_id)
    if not record.is_retired:
        shown.claims = _claims(kind, record.fields, identifying)
        if record.fields.get(kind.worldwide):
            name = worldwide_name(kind.key, record.fields[kind.worldwide])
            shown.worldwide = {name: kind.worldwide}
    columns: Values = {"kind": kind.key, "id": record.record_id, "retired": record.is_retired}
    columns["directory"] = kind.directory
    shown.rows = [Row("records", record.id, record.version, columns, shown.full)]
    if not kind.directory:
        values = record.fields | {"id": record.record_id}
        shown.compact = document(kind.shape, values, zone)
        shown.names = {name: v for name, v in identifying.items() if name != "id"}
        shown.owners = list(kind.owners(record.fields))
        shown.rows.append(entity_row(kind.key, record, record.record_id, shown, shown.names))
    return shown


def _claims(kind: Kind, fields: Values, identifying: Mapping[str, str]) -> dict[str, str]:
    """What no other current record of the organisation may have."""
    claims = {
        f"{kind.key}.{name}={identifying[name]}": name
        for name in kind.unique
        if name in identifying and name != kind.worldwide
    }
    if kind.together:
        values = "\x1e".join(str(fields[name]) for name in kind.together)
        claims[f"{kind.key}={values}"] = ", ".join(kind.together)
    return claims


@projection(Session)
def session(session: Session, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A session as every call checks it; no call shows it."""
    columns: Values = {
        "id": id_text(session.id),
        "user_id": session.user,
        "unit_id": session.unit,
        "expires_at": session.expires_at,
        "released": session.state == "RELEASED",
    }
    beside: Values = {
        "life_cycle_state": session.state,
        "user": {"$ref": f"user/{session.user}"},
        "unit": {"$ref": f"unit/{session.unit}"},
        "expires_at": session.expires_at,
        "consumer": session.consumer,
    }
    columns |= session.consumer
    rows = [Row("sessions", session.id, session.version, columns)]
    return Projection(rows=rows, beside=beside)
