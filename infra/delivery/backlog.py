"""The backlog of messages that the service sends itself. It contains no personal data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg

from services.communications.delivery import MEDIA

__all__ = ["LATE", "MOST", "SERVER_SETTINGS", "Backlog", "backlogs", "is_enabled"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

MOST = 10_000
"""Maximum number of entries that are counted."""
LATE = 900.0
"""Seconds after which a waiting message needs attention."""

SERVER_SETTINGS: Mapping[str, tuple[str, str]] = {
    "EMAIL": ("email_server", "email_server_enabled"),
    "SMS": ("sms_server", "sms_server_enabled"),
}
"""By media, the names of the organisation's settings: the server, and the switch that enables it."""

BACKLOGS = """
SELECT m.media, w.entries, coalesce(extract(epoch FROM clock_timestamp() - f.recorded_at)::float8, 0) AS seconds,
       p.entries AS put_off, coalesce(t.tries, 0) AS tries,
       coalesce(greatest(extract(epoch FROM t.next_try_at - clock_timestamp())::float8, 0), 0) AS next_try,
       t.last_error AS error, coalesce(s.failures, 0) AS failures, s.last_error AS server_error,
       CASE WHEN s.circuit_open_until > clock_timestamp()
            THEN extract(epoch FROM s.circuit_open_until - clock_timestamp())::float8 ELSE 0 END AS paused_for
  FROM unnest($2::text[]) AS m (media)
 CROSS JOIN LATERAL (
    SELECT count(*) AS entries, min(q.created) AS first
      FROM (SELECT e.created FROM views.queue_entries e
             WHERE e.organisation = $1 AND e.media = m.media AND e.life_cycle_state = 'PENDING' AND e.external_system IS NULL
             ORDER BY e.created LIMIT $3) AS q) AS w
 CROSS JOIN LATERAL (
    SELECT count(*) AS entries
      FROM (SELECT FROM delivery.entries d
             WHERE d.organisation = $1 AND d.media = m.media AND d.tries > 0 LIMIT $3) AS q) AS p
  LEFT JOIN LATERAL (
    SELECT d.tries, d.next_try_at, d.last_error FROM delivery.entries d
     WHERE d.organisation = $1 AND d.media = m.media AND d.tries > 0
     ORDER BY d.tries DESC, d.next_try_at, d.entry LIMIT 1) AS t ON true
  LEFT JOIN delivery.transports s ON s.organisation = $1 AND s.media = m.media
  LEFT JOIN ledger.events f ON f.organisation = $1 AND f.position = w.first
 ORDER BY m.media
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The entries of one media that wait for the service itself.

    ``entries`` is their number, counted up to `MOST`; the first has waited for ``seconds``.
    ``put_off`` of them have failed and wait for their next try. Of the one that has failed most often,
    ``tries`` is how often, ``error`` the last reason and ``next_try`` the seconds until the next try.
    The server could not be used ``failures`` times in a row, the last time because of
    ``server_error``; nothing is sent to it for ``paused_for`` seconds.
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
    """Return what waits, by media."""
    rows = await connection.fetch(BACKLOGS, organisation, list(MEDIA), MOST)
    return [Backlog(**dict(row)) for row in rows]


def is_enabled(settings: Mapping[str, Any], media: str) -> bool:
    """Return True if an organisation has a server for a media, and it is enabled."""
    server, switch = SERVER_SETTINGS[media]
    return bool(settings.get(server)) and settings.get(switch) is not False
