"""What waits to be sent by the service itself, for whoever looks after it; nothing of it is personal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from services.communications.delivery import MEDIA

__all__ = ["LATE", "MOST", "SERVER_SETTINGS", "Backlog", "backlogs", "is_enabled"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

MOST = 10_000
"""Entries that are counted."""
LATE = 900.0
"""Seconds for which a message may wait before somebody should look."""

SERVER_SETTINGS: Mapping[str, tuple[str, str]] = {
    "EMAIL": ("email_server", "email_server_enabled"),
    "SMS": ("sms_server", "sms_server_enabled"),
}
"""By media, the organisation's settings: the server, and whether it is used."""

BACKLOGS = """
SELECT m.media, w.entries, coalesce(extract(epoch FROM clock_timestamp() - f.recorded_at)::float8, 0) AS seconds,
       p.entries AS put_off, coalesce(t.tries, 0) AS tries,
       coalesce(greatest(extract(epoch FROM t.next_try_at - clock_timestamp())::float8, 0), 0) AS next_try,
       t.last_error AS error, coalesce(s.failures, 0) AS failures, s.last_error AS server_error,
       CASE WHEN s.rests_until > clock_timestamp()
            THEN extract(epoch FROM s.rests_until - clock_timestamp())::float8 ELSE 0 END AS paused_for
  FROM unnest($2::text[]) AS m (media)
 CROSS JOIN LATERAL (
    SELECT count(*) AS entries, min(q.created) AS first
      FROM (SELECT e.created FROM views.queue_entries e
             WHERE e.organisation = $1 AND e.media = m.media AND e.life_cycle_state = 'PENDING' AND e.external_system IS NULL
             ORDER BY e.created LIMIT $3) AS q) AS w
 CROSS JOIN LATERAL (
    SELECT count(*) AS entries
      FROM (SELECT FROM outward.deliveries d
             WHERE d.organisation = $1 AND d.media = m.media AND d.tries > 0 LIMIT $3) AS q) AS p
  LEFT JOIN LATERAL (
    SELECT d.tries, d.next_try_at, d.last_error FROM outward.deliveries d
     WHERE d.organisation = $1 AND d.media = m.media AND d.tries > 0
     ORDER BY d.tries DESC, d.next_try_at, d.entry LIMIT 1) AS t ON true
  LEFT JOIN outward.servers s ON s.organisation = $1 AND s.media = m.media
  LEFT JOIN ledger.events f ON f.organisation = $1 AND f.position = w.first
 ORDER BY m.media
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits of one media, without an external system.

    ``entries`` of them, at most `MOST` counted, the first for ``seconds``. ``put_off`` were tried in
    vain; the one that was so most often has had ``tries``, the last with ``error``, and the next in
    ``next_try`` seconds. The server could not be used ``failures`` times in a row, the last time
    for ``server_error``, and is left alone for ``paused_for`` seconds.
    """

    media: str
    entries: int
    seconds: float
    put_off: int
    tries: int
    next_try: float
    error: str | None
    failures: int
    server_error: str | None
    paused_for: float


async def backlogs(connection: Connection, organisation: str) -> list[Backlog]:
    """What waits of each media."""
    rows = await connection.fetch(BACKLOGS, organisation, list(MEDIA), MOST)
    return [Backlog(**dict(row)) for row in rows]


def is_enabled(settings: Mapping[str, Any], media: str) -> bool:
    """Whether an organisation has a server for a media, and uses it."""
    server, switch = SERVER_SETTINGS[media]
    return bool(settings.get(server)) and settings.get(switch) is not False
