"""Checks of the schema, of the ledger and of what is derived from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields

from domain.aggregate import EVENTS, CreationEvent
from infra.analytics.install import assert_deployed
from infra.audit.sealer import backlogs, signer_of
from infra.diagnostics.runner import CheckContext, CheckResult, summarize
from infra.encryption import KeyRing
from infra.ledger.integrity import integrity_problems
from infra.ledger.positions import HEADS, head_positions
from infra.projections.projector import lags
from infra.projections.sql_projections import ANALYTICS
from infra.projections.temporal import HISTORY
from infra.schema.migrate import MigrationError, available
from infra.webhooks.subscriptions import SubscriptionStatus, subscription_status
from services.projection_versions import VERSIONS

__all__ = ["DEEP_CHECKS", "LEDGER_CHECKS"]

# What each role could do that it must not; a role that is not there is said, too.
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
SELECT role || ' does not exist' AS wrong FROM r WHERE oid IS NULL
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
# The end of a ledger, where whatever tears it tears it first; the whole of it is walked by `--deep`.
_HOLES = """
WITH heads AS ({heads})
SELECT h.organisation, h.head, least(h.head, $1) AS wanted,
       (SELECT count(*) FROM ledger.events e
         WHERE e.organisation = h.organisation AND e.position > h.head - $1) AS found,
       (SELECT min(e.position) FROM ledger.events e WHERE e.organisation = h.organisation) AS first
  FROM heads h
"""
HOLES = _HOLES.format(heads=HEADS)
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
WRAPPED = "SELECT wrapped FROM ledger.personal_keys ORDER BY organisation, subject LIMIT 1"
SIGNED_BY = (
    "SELECT statement ->> 'key' FROM ledger.seals ORDER BY organisation, number DESC LIMIT 1"
)

SEQUENCES = {"queue_entry": "communication_queue"}
"""Those that are not called like their aggregate."""
TAIL = 100_000
"""Positions at the end of each ledger that are counted."""
BEHIND = 60.0
"""Seconds that a view may be behind."""
PATIENCE = 10
"""Events may be so many times as old as they should be when they are sealed."""


async def schema(site: CheckContext) -> CheckResult:
    """Whether the database has this program's schema."""
    try:
        await assert_deployed(site.connection)
    except MigrationError as error:
        return CheckResult("failed", str(error))
    return CheckResult("ok", f"{available()[-1]} is the last migration, as in this program")


async def privileges(site: CheckContext) -> CheckResult:
    """Whether the roles exist, and none can do more than it should."""
    wrong = [row["wrong"] for row in await site.connection.fetch(PRIVILEGES)]
    return _judged(wrong, "the service reads, and writes through its functions only")


async def guards(site: CheckContext) -> CheckResult:
    """Whether the triggers that refuse changes are there and enabled."""
    missing = [row["missing"] for row in await site.connection.fetch(GUARDS)]
    return _judged(
        [f"off: {one}" for one in missing], "events and seals refuse UPDATE, DELETE and TRUNCATE"
    )


async def positions(site: CheckContext) -> CheckResult:
    """Whether the ends of all ledgers are dense and their beginnings are there."""
    rows = await site.connection.fetch(HOLES, TAIL)
    wrong = [
        f"{row['organisation']} lacks {row['wanted'] - row['found']} of its last {row['wanted']:,} events"
        for row in rows
        if row["found"] != row["wanted"]
    ]
    wrong += [
        f"{row['organisation']} begins at {row['first']}" for row in rows if row["first"] != 1
    ]
    seen = sum(row["found"] for row in rows)
    return _judged(wrong, f"{seen:,} in {len(rows)} ledgers, none missing among the last {TAIL:,}")


async def sequences(site: CheckContext) -> CheckResult:
    """Whether no number that is given out next has been used, as after a backup in two halves."""
    names, topics = zip(*_numbered(), strict=True)
    wrong = [
        f"{row['name']} of {row['organisation']} stands at {row['value']}, {row['used']} is used"
        for row in await site.connection.fetch(NUMBERS, names, topics)
    ]
    return _judged(wrong, "are ahead of the numbers that events have used")


def _numbered() -> Iterator[tuple[str, str]]:
    """The sequence and the topic of each first event that carries a number."""
    for topic, event in EVENTS.items():
        if issubclass(event, CreationEvent) and any(
            part.name == "number" for part in fields(event)
        ):
            kind = topic.partition(".")[0]
            yield SEQUENCES.get(kind, kind), topic


async def views(site: CheckContext) -> CheckResult:
    """Whether the rows of the views were written by this program's definitions, and how late."""
    rows = await site.connection.fetch("SELECT view, version FROM ledger.view_versions")
    written = {row["view"]: row["version"] for row in rows}
    wanted = {f"views.{name}": version for name, version in VERSIONS.items()}
    wanted |= {f"analytics.{name}": view.version for name, view in ANALYTICS.items()}
    stale = [name for name, version in wanted.items() if written.get(name) != version]
    behind = [lag for name in (*ANALYTICS, HISTORY) for lag in await lags(site.connection, name)]
    if ahead := [lag.organisation for lag in behind if lag.positions < 0]:
        return _judged([f"ahead of the ledger of {one}" for one in ahead], "")
    if stale:
        return CheckResult(
            "warning", f"of another version: {', '.join(stale)}; run `views rebuild`"
        )
    if parked := sum(lag.parked for lag in behind):
        return CheckResult("warning", f"{parked:,} entities are parked; see `views parked`")
    oldest = max((lag.seconds for lag in behind), default=0.0)
    said = f"{len(wanted)} of this program's version, {oldest:.1f} s behind"
    return CheckResult("warning" if oldest > BEHIND else "ok", said)


async def webhooks(site: CheckContext) -> CheckResult:
    """Whether subscribers are told of this ledger, and in time."""
    rows = await site.connection.fetch("SELECT * FROM webhooks.subscription_status()")
    found = [subscription_status(row) for row in rows]
    ahead = [
        f"{_named(one)} is ahead of the ledger" for one in found if one.display_state == "AHEAD"
    ]
    stopped = [
        f"{_named(one)} is {one.display_state}"
        for one in found
        if one.display_state in ("FAILING", "PAUSED", "GONE")
    ]
    told = [one for one in found if one.is_active]
    oldest = max((one.lag_seconds for one in told), default=0.0)
    said = f"{len(told)} are told what happens, {oldest:.1f} s behind"
    if stopped and not ahead:
        return CheckResult("warning", summarize(stopped))
    if oldest > BEHIND and not ahead:
        return CheckResult("warning", f"{said}; does `crmledger deliver` run?")
    return _judged(ahead, said)


def _named(one: SubscriptionStatus) -> str:
    return f"{one.webhook} of {one.organisation}"


async def seals(site: CheckContext) -> CheckResult:
    """Whether events are sealed in time, and no seal is about events that are gone."""
    found = await backlogs(site.connection)
    cut = [
        f"the ledger of {one.organisation} ends before its last seal"
        for one in found
        if one.events < 0
    ]
    oldest = max((one.seconds for one in found), default=0.0)
    late = oldest > PATIENCE * (site.settings.seal_seconds or BEHIND)
    waiting = sum(one.events for one in found if one.events > 0)
    said = f"{waiting:,} events are not sealed yet, the oldest for {oldest:,.0f} s"
    return _judged(cut, said) if cut or not late else CheckResult("warning", said)


async def secrets(site: CheckContext) -> CheckResult:
    """Whether this service key is the one that the database was written with."""
    wrapped = await site.connection.fetchval(WRAPPED)
    try:
        if wrapped is not None:
            KeyRing(site.settings.service_key).unwrap(wrapped)
    except ValueError:
        return CheckResult("failed", "this CRMLEDGER_SERVICE_KEY does not open personal data")
    signed_by = await site.connection.fetchval(SIGNED_BY)
    if signed_by not in (None, signer_of(site.settings.service_key).key):
        return CheckResult("warning", f"seals are signed by another service key: {signed_by}")
    return CheckResult(
        "ok", "the service key opens what is stored" if wrapped else "nothing to open yet"
    )


async def every_event(site: CheckContext) -> CheckResult:
    """Walks through all ledgers: positions, versions, hashes, claims, rows of views."""
    found: list[str] = []
    known = await head_positions(site.connection)
    for organisation in known:
        found += [
            f"{organisation}: {one}"
            for one in await integrity_problems(site.connection, organisation)
        ]
    return _judged(found, f"{sum(known.values()):,} events are whole, and shown as they are")


def _judged(wrong: Iterable[str], otherwise: str) -> CheckResult:
    """A failure that names the first things that are wrong; fine, and ``otherwise``, if none is."""
    found = list(wrong)
    return CheckResult("failed", summarize(found)) if found else CheckResult("ok", otherwise)


LEDGER_CHECKS = (
    schema,
    privileges,
    guards,
    positions,
    sequences,
    views,
    webhooks,
    seals,
    secrets,
)
"""In the order in which they are made."""
DEEP_CHECKS = (every_event,)
"""Those that take as long as the ledger is."""
