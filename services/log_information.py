"""The log information of an entity (contract common.md, section 10)."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from domain.aggregate import Attribution
from domain.composite_fields import Object, Reference
from domain.fields import JsonObject
from domain.parsing import wall_clock
from domain.reference.catalogue import identifiable
from domain.scalar_fields import Date

__all__ = ["LOG_INFORMATION", "USER", "log_information"]

USER, UNIT = identifiable("user"), identifiable("unit")

LOG_INFORMATION = Object(
    name="log_information",
    fields=(
        Date(name="created_date"),
        Date(name="updated_date"),
        Reference(name="created_by_user", target=USER),
        Reference(name="updated_by_user", target=USER),
        Reference(name="created_by_unit", target=UNIT),
        Reference(name="updated_by_unit", target=UNIT),
    ),
)


def log_information(created: Attribution, updated: Attribution, zone: ZoneInfo) -> JsonObject:
    """Return users, units and times of the first and the last change."""
    return {
        "created_date": wall_clock(created.at, zone),
        "updated_date": wall_clock(updated.at, zone),
        "created_by_user": created.user,
        "updated_by_user": updated.user,
        "created_by_unit": created.unit,
        "updated_by_unit": updated.unit,
    }
