"""Checks of the schema, of the ledgers and of what is derived from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from domain.aggregate import EVENTS, CreationEvent
from infra.analytics.install import assert_deployed
from infra.audit.sealer import backlogs, trusted_keys
from infra.diagnostics.runner import CheckContext, CheckResult, summarize
from infra.encryption import KeyRing, key_id
from infra.ledger.event_mac import is_authentic
from infra.ledger.feed import STORED_COLUMNS, stored_event
from infra.ledger.integrity import integrity_problems
from infra.ledger.positions import HEADS, head_positions
from infra.projections.projector import lags
from infra.projections.sql_projections import ANALYTICS
from infra.projections.temporal import HISTORY
from infra.schema.migrate import MigrationError, available
from infra.store.key_rotation import count_key_uses
from infra.webhooks.subscriptions import SubscriptionStatus, subscription_status
from services.projection_versions import VERSIONS

__all__ = ["DEEP_CHECKS", "LEDGER_CHECKS"]

# Privileges that a role must not have, and roles that are missing.
PRIVILEGES = """
WITH t AS (
    SELECT c.oid, n.nspname, n.nspname || '.' || c.relname AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('ledger', 'views', 'analytics', 'projection', 'delivery', 'webhooks') AND c.relkind = 'r'
), r AS (
    SELECT w.role, p.oid, p.rolsuper
      FROM unnest(ARRAY['crmledger_service', 'crmledger_projector', 'crmledger_deliverer', 'crmledger_analyst']) AS w (role)
      LEFT JOIN pg_roles p ON p.rolname = w.role
)
SELECT role || ' does not exist' AS problem FROM r WHERE oid IS NULL
UNION ALL SELECT role || ' is a superuser' FROM r WHERE rolsuper
UNION ALL SELECT current_user || ' cannot switch to ' || role FROM r WHERE NOT pg_has_role(current_user, oid, 'MEMBER')
UNION ALL
SELECT role || ' can change ' || name FROM r, t
 WHERE (role, nspname) NOT IN
       (('crmledger_projector', 'analytics'), ('crmledger_projector', 'projection'), ('crmledger_deliverer', 'webhooks'))
   AND has_table_privilege(r.oid, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
UNION ALL
SELECT role || ' can read ' || name FROM r, t
 WHERE (role = 'crmledger_analyst' AND nspname <> 'analytics'
        OR role = 'crmledger_deliverer' AND nspname <> 'webhooks' AND name <> 'ledger.events')
   AND has_table_privilege(r.oid, t.oid, 'SELECT')
UNION ALL
SELECT role || ' cannot append' FROM r, pg_proc p
 WHERE role = 'crmledger_service' AND p.oid::regproc::text = 'ledger.append'
   AND NOT has_function_privilege(r.oid, p.oid, 'EXECUTE')
 ORDER BY 1
"""
GUARDS = """
SELECT t.name || ' (' || w.name || ')' AS missing
  FROM unnest(ARRAY['ledger.events', 'ledger.seals']) AS t (name),
       unnest(ARRAY['append_only', 'append_only_whole']) AS w (name)
 WHERE NOT EXISTS (SELECT FROM pg_trigger g
                    WHERE g.tgrelid = t.name::regclass AND g.tgname = w.name AND g.tgenabled IN ('O', 'A'))
UNION ALL
SELECT 'session_replication_role is ' || setting FROM pg_settings
 WHERE name = 'session_replication_role' AND setting <> 'origin'
 ORDER BY 1
"""
# The end of a ledger, where damage shows first; `--deep` reads all of it.
_HOLES = """
WITH heads AS ({heads})
SELECT h.organisation, h.head, least(h.head, $1) AS expected,
       (SELECT count(*) FROM ledger.events e
         WHERE e.organisation = h.organisation AND e.position > h.head - $1) AS count,
       (SELECT min(e.position) FROM ledger.events e WHERE e.organisation = h.organisation) AS first
  FROM heads h
"""
HOLES = _HOLES.format(heads=HEADS)
_LAST_EVENTS = """
WITH heads AS ({heads})
SELECT h.organisation, e.*
  FROM heads h,
       LATERAL (SELECT {columns} FROM ledger.events e
                 WHERE e.organisation = h.organisation AND e.position > h.head - $1 ORDER BY e.position) AS e
"""
LAST_EVENTS = _LAST_EVENTS.format(heads=HEADS, columns=STORED_COLUMNS)
NUMBERS = """
SELECT s.organisation, s.name, s.value, n.used
  FROM unnest($1::text[], $2::text[]) AS t (sequence, topic)
  JOIN ledger.sequences s ON s.name = t.sequence,
       LATERAL (SELECT max(substring(f.number FROM '[0-9]+$')::bigint) AS used
                  FROM (SELECT e.payload ->> 'number' AS number FROM ledger.events e
                         WHERE e.organisation = s.organisation AND e.topic = t.topic
                         ORDER BY e.position DESC LIMIT 100) AS f) AS n
 WHERE n.used > s.value
"""
SIGNED_BY = (
    "SELECT statement ->> 'key' FROM ledger.seals ORDER BY organisation, number DESC LIMIT 1"
)

SEQUENCES = {"queue_entry": "communication_queue"}
"""Sequences that have another name than their aggregate."""
RECENT = 100
"""Events of each ledger whose MACs a check without `--deep` computes."""
TAIL = 100_000
"""Positions at the end of each ledger that are checked."""
BEHIND = 60.0
"""The greatest lag of a view in seconds without a warning."""
PATIENCE = 10
"""A warning if unsealed events are older than the setting by this factor."""


async def schema(context: CheckContext) -> CheckResult:
    """Check that the database has this program's schema."""
    try:
        await assert_deployed(context.connection)
    except MigrationError as error:
        return CheckResult("failed", str(error))
    return CheckResult("ok", f"{available()[-1]} is the last migration, as in this program")


async def privileges(context: CheckContext) -> CheckResult:
    """Check that the roles exist, and none has more privileges than it should."""
    problems = [row["problem"] for row in await context.connection.fetch(PRIVILEGES)]
    return _result(problems, "the service reads, and writes through its functions only")


async def guards(context: CheckContext) -> CheckResult:
    """Check that the triggers that refuse changes exist and are enabled."""
    missing = [row["missing"] for row in await context.connection.fetch(GUARDS)]
    return _result(
        [f"off: {trigger}" for trigger in missing],
        "events and seals refuse UPDATE, DELETE and TRUNCATE",
    )


async def positions(context: CheckContext) -> CheckResult:
    """Check that the ends of all ledgers are dense and their beginnings exist."""
    rows = await context.connection.fetch(HOLES, TAIL)
    problems = [
        f"{row['organisation']} lacks {row['expected'] - row['count']} of its last {row['expected']:,} events"
        for row in rows
        if row["count"] != row["expected"]
    ]
    problems += [
        f"{row['organisation']} begins at {row['first']}" for row in rows if row["first"] != 1
    ]
    count = sum(row["count"] for row in rows)
    return _result(
        problems, f"{count:,} in {len(rows)} ledgers, none missing among the last {TAIL:,}"
    )


async def authenticity(context: CheckContext) -> CheckResult:
    """Check that the last events of all ledgers were written with a service key that is listed."""
    ring = KeyRing(*context.settings.service_keys)
    rows = await context.connection.fetch(LAST_EVENTS, RECENT)
    problems = [
        f"{row['organisation']}: {event.topic} at position {event.position} was not written with the service key"
        for row, event in ((row, stored_event(row)) for row in rows)
        if not is_authentic(ring, row["organisation"], event)
    ]
    return _result(problems, f"the last {RECENT} events of every ledger are the service's own")


async def sequences(context: CheckContext) -> CheckResult:
    """Check that no number that is allocated next has been used, as after an inconsistent backup."""
    names, topics = zip(*_numbered_topics(), strict=True)
    problems = [
        f"{row['name']} of {row['organisation']} is at {row['value']}, but {row['used']} is used"
        for row in await context.connection.fetch(NUMBERS, names, topics)
    ]
    return _result(problems, "are ahead of the numbers that events have used")


def _numbered_topics() -> Iterator[tuple[str, str]]:
    """The sequence and the topic of each creation event that carries a number."""
    for topic, event in EVENTS.items():
        if issubclass(event, CreationEvent) and any(
            part.name == "number" for part in fields(event)
        ):
            kind = topic.partition(".")[0]
            yield SEQUENCES.get(kind, kind), topic


async def views(context: CheckContext) -> CheckResult:
    """Check that this program's versions have written the views, and their lag."""
    rows = await context.connection.fetch("SELECT view, version FROM ledger.view_versions")
    written = {row["view"]: row["version"] for row in rows}
    versions = {f"views.{name}": version for name, version in VERSIONS.items()}
    versions |= {f"analytics.{name}": view.version for name, view in ANALYTICS.items()}
    stale = [name for name, version in versions.items() if written.get(name) != version]
    view_lags = [
        lag for name in (*ANALYTICS, HISTORY) for lag in await lags(context.connection, name)
    ]
    if ahead := [lag.organisation for lag in view_lags if lag.positions < 0]:
        return _result([f"ahead of the ledger of {organisation}" for organisation in ahead], "")
    if stale:
        return CheckResult(
            "warning", f"of another version: {', '.join(stale)}; run `views rebuild`"
        )
    if parked := sum(lag.parked for lag in view_lags):
        return CheckResult("warning", f"{parked:,} entities are parked; see `views parked`")
    oldest = max((lag.seconds for lag in view_lags), default=0.0)
    message = f"{len(versions)} of this program's version, lag {oldest:.1f} s"
    return CheckResult("warning" if oldest > BEHIND else "ok", message)


async def webhooks(context: CheckContext) -> CheckResult:
    """Check the state and the lag of webhook subscriptions."""
    rows = await context.connection.fetch("SELECT * FROM webhooks.subscription_status()")
    subscriptions = [subscription_status(row) for row in rows]
    ahead = [
        f"{_label(subscription)} is ahead of the ledger"
        for subscription in subscriptions
        if subscription.display_state == "AHEAD"
    ]
    stopped = [
        f"{_label(subscription)} is {subscription.display_state}"
        for subscription in subscriptions
        if subscription.display_state in ("FAILING", "PAUSED", "GONE")
    ]
    active = [subscription for subscription in subscriptions if subscription.is_active]
    oldest = max((subscription.lag_seconds for subscription in active), default=0.0)
    message = f"{len(active)} subscription{'' if len(active) == 1 else 's'}, lag {oldest:.0f} s"
    if stopped and not ahead:
        return CheckResult("warning", summarize(stopped))
    if oldest > BEHIND and not ahead:
        return CheckResult("warning", f"{message}; is `crmledger deliver` running?")
    return _result(ahead, message)


def _label(subscription: SubscriptionStatus) -> str:
    return f"{subscription.webhook} of {subscription.organisation}"


async def seals(context: CheckContext) -> CheckResult:
    """Check that events are sealed in time, and every seal covers events that exist."""
    unsealed = await backlogs(context.connection)
    cut = [
        f"the ledger of {backlog.organisation} ends before its last seal"
        for backlog in unsealed
        if backlog.events < 0
    ]
    oldest = max((backlog.seconds for backlog in unsealed), default=0.0)
    late = oldest > PATIENCE * (context.settings.seal_seconds or BEHIND)
    count = sum(backlog.events for backlog in unsealed if backlog.events > 0)
    message = f"{count:,} unsealed events, the oldest {oldest:,.0f} s old"
    return _result(cut, message) if cut or not late else CheckResult("warning", message)


async def secrets(context: CheckContext) -> CheckResult:
    """Check that the service keys are those that the database was written with, and which are needed."""
    current, *fallbacks = map(key_id, context.settings.service_keys)
    uses = await count_key_uses(context.connection)
    others = {
        key: ", ".join(f"{use.count:,} {use.item}" for use in uses if use.service_key == key)
        for key in sorted({use.service_key for use in uses} - {current})
    }
    unreadable = [
        f"{others[key]} need another service key" for key in others.keys() - set(fallbacks)
    ]
    if unreadable:
        return _result(unreadable, "")
    signed_by = await context.connection.fetchval(SIGNED_BY)
    if signed_by not in (None, *trusted_keys(context.settings)):
        return CheckResult("warning", f"seals are signed by another service key: {signed_by}")
    if others:
        needed = "; ".join(others.values())
        return CheckResult("warning", f"{needed} need a fallback; run `crmledger keys rewrap`")
    message = "the service key decrypts what is stored" if uses else "nothing is encrypted yet"
    return CheckResult("ok", f"{message}; no fallback is needed" if fallbacks else message)


async def every_event(context: CheckContext) -> CheckResult:
    """Check all ledgers: positions, versions, hashes, claims, rows of views."""
    problems: list[str] = []
    ring = KeyRing(*context.settings.service_keys)
    heads = await head_positions(context.connection)
    for organisation in heads:
        problems += [
            f"{organisation}: {problem}"
            for problem in await integrity_problems(context.connection, organisation, ring)
        ]
    return _result(problems, f"{sum(heads.values()):,} events verified, views match")


def _result(problems: Iterable[str], message: str) -> CheckResult:
    """A failure that names the first problems; ok with ``message`` if there are none."""
    listed = list(problems)
    return CheckResult("failed", summarize(listed)) if listed else CheckResult("ok", message)


LEDGER_CHECKS = (
    schema,
    privileges,
    guards,
    positions,
    authenticity,
    sequences,
    views,
    webhooks,
    seals,
    secrets,
)
"""In the order in which they are run."""
DEEP_CHECKS = (every_event,)
"""Those that read all events."""
