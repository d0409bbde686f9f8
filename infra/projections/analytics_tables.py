"""The objects that are tables, fed by the projector, and the statements that feed them."""

from __future__ import annotations

from dataclasses import replace

from infra.analytics.columns import Column
from infra.analytics.events import ID, STATES
from infra.analytics.relation import ORGANISATION, Relation

__all__ = ["DAILY_FACTS", "FED", "TRANSITIONS"]

# A fact that leads to the state its entity is in already is no transition. What was open before is
# closed by the entity's first transition of the batch, the others close each other.
_TRANSITIONS = """
WITH moved AS (
    SELECT {id} AS id, split_part(e.topic, '.', 1) AS entity, e.topic, s.state, e.position, e.recorded_at,
           e.metadata ->> 'user' AS actor, e.metadata ->> 'unit' AS unit,
           lag(s.state) OVER (PARTITION BY e.stream_id ORDER BY e.position) AS former
      FROM ledger.events e JOIN {states} ON s.topic = e.topic
     WHERE e.organisation = $1 AND e.position > $2 AND e.position <= $3 AND {{which}}
), entered AS (
    SELECT m.*, row_number() OVER w AS n,
           lead(m.position) OVER w AS left_position, lead(m.recorded_at) OVER w AS left_at
      FROM moved m
      LEFT JOIN analytics.transitions t ON t.organisation = $1 AND t.id = m.id AND t.left_position IS NULL
     WHERE m.state IS DISTINCT FROM coalesce(m.former, t.state)
    WINDOW w AS (PARTITION BY m.id ORDER BY m.position)
), closed AS (
    UPDATE analytics.transitions t SET left_position = e.position, left_at = e.recorded_at
      FROM entered e
     WHERE e.n = 1 AND t.organisation = $1 AND t.id = e.id AND t.left_position IS NULL
)
INSERT INTO analytics.transitions
       (organisation, entity, id, state, topic, entered_position, entered_at, left_position, left_at, actor, unit)
SELECT $1, entity, id, state, topic, position, recorded_at, left_position, left_at, actor, unit FROM entered
"""
TRANSITIONS = _TRANSITIONS.format(id=ID, states=STATES)
"""Feeds ``analytics.transitions``: ``$1`` organisation, facts ``e`` at ``$2 < position <= $3`` that are ``which``."""

DAILY_FACTS = """
INSERT INTO analytics.daily_facts AS d (organisation, day, topic, facts)
SELECT e.organisation, (e.recorded_at AT TIME ZONE 'UTC')::date, e.topic, count(*)
  FROM ledger.events e WHERE e.organisation = $1 AND e.position > $2 AND e.position <= $3 AND {which}
 GROUP BY 1, 2, 3
ON CONFLICT (organisation, day, topic) DO UPDATE SET facts = d.facts + excluded.facts
"""
"""Feeds ``analytics.daily_facts``, likewise."""

_MOMENT = "timestamp with time zone"
_ORGANISATION = replace(ORGANISATION, sql="")

FED = (
    Relation(
        "transitions",
        "Every state that an entity has been in, one a row: for funnels and times to answer.",
        (
            _ORGANISATION,
            Column("entity", "text", "What it is: access_token, communication, ..."),
            Column("id", "text", "Id of the entity."),
            Column("state", "text", "The state that was entered."),
            Column("topic", "text", "The fact that led to it."),
            Column("entered_position", "bigint", "Position of that fact."),
            Column("entered_at", _MOMENT, "When it was entered."),
            Column(
                "left_position",
                "bigint",
                "Position of the fact that ended it; null while it lasts.",
            ),
            Column("left_at", _MOMENT, "When it was left."),
            Column("actor", "text", "Id of the user who brought it about; null for the system."),
            Column("unit", "text", "Id of the unit for which that user acted."),
            Column("seconds", "double precision", "How long it lasted."),
            Column(
                "changed_position", "bigint", "Position of the last fact that changed this row."
            ),
        ),
        order=("entered_position",),
        position="changed_position",
    ),
    Relation(
        "daily_facts",
        "How many facts of each topic were recorded on each day.",
        (
            _ORGANISATION,
            Column("day", "date", "The day in UTC on which the facts were recorded."),
            Column("topic", "text", "What happened: entity, a dot, the fact in the past tense."),
            Column("facts", "bigint", "How often it happened."),
        ),
        order=("day", "topic"),
    ),
    Relation(
        "progress",
        "How far each fed table has come in each ledger, and which process may move it.",
        (
            _ORGANISATION,
            Column("view", "text", "The table."),
            Column("position", "bigint", "The last fact that the table holds."),
            Column("moved_at", _MOMENT, "When the position was moved last."),
            Column("holder", "uuid", "The process that has the lease; null if nobody has."),
            Column("held_until", _MOMENT, "When the lease ends unless it is renewed."),
            Column("version", "integer", "Of history: the definition by which it was written."),
            Column("generation", "bigint", "Of history: how often rows of it were dropped."),
        ),
        order=("view",),
    ),
)
"""Their comments are written as those of the views are; migrations make the tables themselves."""
