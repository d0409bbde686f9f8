"""The objects that are fed by the projector: tables, and how far it has come with them."""

from __future__ import annotations

from dataclasses import replace

from infra.analytics.columns import Column
from infra.analytics.relation import ORGANISATION, Relation

__all__ = ["PROJECTED_RELATIONS"]

_MOMENT = "timestamp with time zone"
_ORGANISATION = replace(ORGANISATION, sql="")

PROJECTED_RELATIONS = (
    Relation(
        "transitions",
        "Every state that an entity has been in, one a row: for funnels and times to answer.",
        (
            _ORGANISATION,
            Column("entity", "text", "What it is: access_token, communication, ..."),
            Column("id", "text", "Id of the entity."),
            Column("state", "text", "The state that was entered."),
            Column("topic", "text", "The event that led to it."),
            Column("entered_position", "bigint", "Position of that event."),
            Column("entered_at", _MOMENT, "When it was entered."),
            Column(
                "left_position",
                "bigint",
                "Position of the event that ended it; null while it lasts.",
            ),
            Column("left_at", _MOMENT, "When it was left."),
            Column("actor", "text", "Id of the user who brought it about; null for the system."),
            Column("unit", "text", "Id of the unit for which that user acted."),
            Column("seconds", "double precision", "How long it lasted."),
            Column(
                "changed_position", "bigint", "Position of the last event that changed this row."
            ),
        ),
        order=("entered_position",),
        position="changed_position",
    ),
    Relation(
        "daily_events",
        "How many events of each topic were recorded on each day.",
        (
            _ORGANISATION,
            Column("day", "date", "The day in UTC on which the events were recorded."),
            Column("topic", "text", "What happened: entity, a dot, the event in the past tense."),
            Column("events", "bigint", "How often it happened."),
        ),
        order=("day", "topic"),
    ),
    Relation(
        "progress",
        "How far each fed table has come in each ledger, and which process may move it.",
        (
            ORGANISATION,
            Column("view", "text", "The table.", "v.view"),
            Column("position", "bigint", "The last event that the table holds.", "v.position"),
            Column("moved_at", _MOMENT, "When the position was moved last.", "v.moved_at"),
            Column(
                "lease_holder",
                "uuid",
                "The process that has the lease; null if nobody has.",
                "v.lease_holder",
            ),
            Column(
                "lease_expires_at",
                _MOMENT,
                "When the lease ends unless it is renewed.",
                "v.lease_expires_at",
            ),
            Column(
                "version",
                "integer",
                "Of history: the definition by which it was written.",
                "v.version",
            ),
            Column("epoch", "bigint", "Of history: how often rows of it were dropped.", "v.epoch"),
        ),
        source="projection.checkpoints v",
        order=("view",),
    ),
)
"""The comments of tables are written as those of views are; migrations make the tables themselves."""
