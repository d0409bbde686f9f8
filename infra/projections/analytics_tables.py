"""The statements that fill the tables of analysts."""

from __future__ import annotations

from infra.analytics.events import ID, STATES

__all__ = ["DAILY_EVENTS", "TRANSITIONS"]

# An event that leaves its entity in the same state is no transition. The first transition of the batch
# closes the row that was open before; each later one closes its predecessor.
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
"""Fills ``analytics.transitions``: ``$1`` organisation, events ``e`` at ``$2 < position <= $3`` that meet ``which``."""

DAILY_EVENTS = """
INSERT INTO analytics.daily_events AS d (organisation, day, topic, events)
SELECT e.organisation, (e.recorded_at AT TIME ZONE 'UTC')::date, e.topic, count(*)
  FROM ledger.events e WHERE e.organisation = $1 AND e.position > $2 AND e.position <= $3 AND {which}
 GROUP BY 1, 2, 3
ON CONFLICT (organisation, day, topic) DO UPDATE SET events = d.events + excluded.events
"""
"""Fills ``analytics.daily_events``, likewise."""
