"""The projections of communications and queue entries: documents, and columns to find them by.

Shapes: contract communications.md, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from domain.communication import (
    CATEGORY,
    CONTACT,
    DIRECTION,
    EXTERNAL_SYSTEM,
    LIFE_CYCLE_STATE,
    MEDIA,
    OWNERSHIP,
    REFERENCES,
    TEXTS,
    UDF,
    Communication,
)
from domain.composite_fields import Reference
from domain.fields import Field, JsonObject, JsonSchema, ResponseShape
from domain.queue_entry import ENTRY_STATE, ERROR_CODE, ERROR_DESCRIPTION, QueueEntry
from domain.reference.catalogue import identifiable
from domain.scalar_fields import Boolean, Date, Text
from domain.unrestricted_parameters import UNRESTRICTED
from services.ids import format_id
from services.log_information import LOG_INFORMATION, log_information
from services.projections import (
    MAX_FOLLOW_UPS,
    Projection,
    ViewRow,
    document,
    entity_row,
    projection,
    stored_references,
)

__all__ = ["COMMUNICATION", "COMPACT_COMMUNICATION", "QUEUE_ENTRY", "VIEWED_ON"]

ID = Text(name="id")
NUMBER = Text(name="number")


@dataclass(frozen=True, kw_only=True)
class FollowUps(Field):
    """The first later communications of the same code, found when the document is read."""

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return {"$ref": f"follow_ups/{stored}"}

    def response_schema(self) -> JsonSchema:
        items = {"$ref": "#/components/schemas/communication"}
        return {"type": "array", "items": items, "maxItems": MAX_FOLLOW_UPS}


VIEWED = Boolean(name="viewed", numeric=True)
VIEWED_ON = Date(name="viewed_on", java_format=True)
COMPACT_COMMUNICATION = ResponseShape(
    "communication", ID, NUMBER, LIFE_CYCLE_STATE, TEXTS[0], VIEWED, VIEWED_ON, CONTACT
)
COMMUNICATION = ResponseShape(
    "full_communication",
    ID,
    NUMBER,
    Text(name="code"),
    LIFE_CYCLE_STATE,
    DIRECTION,
    MEDIA,
    TEXTS[0],
    TEXTS[1],
    Text(name="from"),
    TEXTS[2],
    TEXTS[3],
    VIEWED,
    VIEWED_ON,
    CONTACT,
    CATEGORY,
    EXTERNAL_SYSTEM,
    REFERENCES,
    FollowUps(name="follow_up_set"),
    UNRESTRICTED,
    *UDF,
    *OWNERSHIP,
    LOG_INFORMATION,
)
QUEUE_ENTRY = ResponseShape(
    "communication_queue",
    ID,
    NUMBER,
    ENTRY_STATE,
    ERROR_CODE,
    ERROR_DESCRIPTION,
    Reference(name="communication", target=identifiable("communication")),
    EXTERNAL_SYSTEM,
    LOG_INFORMATION,
)


def _compact_communication(communication: Communication) -> JsonObject:
    return communication.details | {
        "id": format_id(communication.id),
        "number": communication.number,
        "life_cycle_state": communication.state,
        "viewed": communication.viewed_on is not None,
        "viewed_on": communication.viewed_on,
        "contact_information": communication.contact_information,
    }


@projection(Communication)
def communication(
    communication: Communication, settings: Mapping[str, Any], zone: ZoneInfo
) -> Projection:
    """A communication: its row and its compact object."""
    compact = _compact_communication(communication)
    full = compact | {
        "code": communication.code,
        "follow_up_set": compact["id"],
        "unrestricted_parameter_set": communication.parameters,
        "log_information": log_information(communication.created, communication.stamp, zone),
    }
    result = Projection(
        full=document(COMMUNICATION, full, zone),
        compact=document(COMPACT_COMMUNICATION, compact, zone),
        names={"number": communication.number},
        owners=(f"contact_information/{communication.contact_information}",),
        # Communications of an erased contact are still shown, but nobody can identify them.
        retired=communication.is_erased,
    )
    searched = ("id", "code", "contact_information", "category", "direction", "media")
    columns = {name: full.get(name) for name in (*searched, "life_cycle_state")}
    refs = stored_references(result.full)
    result.rows = [
        ViewRow(
            "communications", communication.id, communication.version, columns, result.full, refs
        ),
        entity_row("communication", communication, compact["id"], result, result.names),
    ]
    return result


@projection(QueueEntry)
def queue_entry(entry: QueueEntry, settings: Mapping[str, Any], zone: ZoneInfo) -> Projection:
    """A queue entry: its row; it is part of no other document."""
    id_, contact = format_id(entry.id), f"contact_information/{entry.contact_information}"
    values = {
        "id": id_,
        "number": entry.number,
        "life_cycle_state": entry.state,
        "error_code": entry.error_code,
        "error_description": entry.error_description,
        "communication": entry.communication,
        "communication_queue_external_system": entry.external_system,
        "log_information": log_information(entry.created, entry.stamp, zone),
    }
    result = Projection(
        full=document(QUEUE_ENTRY, values, zone),
        names={"number": entry.number},
        owners=(contact,),
        extra={"media": entry.media, "contact_information": {"$ref": contact}},
    )
    columns = {
        "id": id_,
        "communication": entry.communication,
        "contact_information": entry.contact_information,
        "media": entry.media,
        "external_system": entry.external_system,
        "life_cycle_state": entry.state,
    }
    refs = stored_references(result.full)
    result.rows = [
        ViewRow("queue_entries", entry.id, entry.version, columns, result.full, refs),
        entity_row("communication_queue", entry, id_, result, result.names),
    ]
    return result
