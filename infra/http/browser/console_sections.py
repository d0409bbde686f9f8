"""The sections of the console: each is a heading, a sentence and a chart of one part of a `Dashboard`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from infra.delivery.backlog import LATE as MAX_QUEUE_AGE
from infra.delivery.backlog import MOST as MAX_COUNT
from infra.delivery.backlog import Backlog, is_enabled
from infra.diagnostics.dashboard import AGES, MOST, Dashboard, QueueDepth, SealSummary
from infra.http.browser.charts import (
    Chart,
    Series,
    bar_chart,
    code_chart,
    column_chart,
    log_gauges,
    segment_bar,
)
from services.audit.event_descriptions import humanize
from services.reference_cache import ReferenceCache

__all__ = ["LATE", "Section", "built_in_sender", "duration", "sections"]

SYSTEM = "communication_queue_external_system"
AGE_SERIES = [Series(f"age{n}", name) for n, (name, _) in enumerate(AGES)]
DUE_SERIES = [Series("late", "overdue"), Series("calm", "in time")]
SEAL_SERIES = [
    Series("seal1", "sealed events, one segment per seal"),
    Series("open", "unsealed events"),
]
CODES = 8
"""The most error codes that are shown."""
LATE = 60.0
"""Lag in seconds from which a projection or a subscription is shown as late."""
UNITS: Mapping[str, float] = {"d": 86_400.0, "h": 3_600.0, "min": 60.0}


@dataclass(frozen=True, slots=True)
class Section:
    """A chart with its heading; ``text`` stands above it, or alone if there is nothing to draw."""

    id: str
    heading: str
    text: str
    chart: Chart | None = None


def sections(
    dashboard: Dashboard,
    references: ReferenceCache,
    zone: ZoneInfo,
    errors: Sequence[tuple[str, int]],
    seconds: float,
) -> list[Section]:
    """All sections, in the order of the page.

    :param errors: codes with their counts, the most frequent first, of the last ``seconds``.
    """
    return [
        _queue(dashboard, references),
        built_in_sender(dashboard.outgoing, references.settings),
        _requests(dashboard),
        _events(dashboard, zone),
        _projections(dashboard),
        _webhooks(dashboard),
        _seals(dashboard, zone),
        _errors(errors, seconds),
    ]


def duration(seconds: float) -> str:
    """A time span in its largest unit."""
    for unit, length in UNITS.items():
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "under 1 s"


def _queue(dashboard: Dashboard, references: ReferenceCache) -> Section:
    heading = "Sending queue"
    rows = [(_system(depth, references), depth.by_age) for depth in dashboard.waiting]
    if not rows:
        return Section("queue", heading, "No queued messages.")
    text = "Queued messages by external system and age."
    if dashboard.full:
        text += f" Only the oldest {MOST:,} are counted: {', '.join(dashboard.full)}."
    description = f"{len(rows)} queues; the longest is that of {rows[0][0]}."
    return Section("queue", heading, text, bar_chart(description, "system", AGE_SERIES, rows))


def _system(depth: QueueDepth, references: ReferenceCache) -> str:
    """The name of the external system, or the media if there is none."""
    if depth.system is None:
        return f"{depth.media}, no system"
    return str(references.fields(SYSTEM, depth.system).get("name") or depth.system)


def built_in_sender(backlogs: Sequence[Backlog], settings: Mapping[str, Any]) -> Section:
    """The queue of the built-in sender, and the state of its servers."""
    heading = "Built-in sender (SMTP/SMS)"
    active = [backlog for backlog in backlogs if backlog.entries or backlog.failures]
    if not active:
        return Section("outgoing", heading, "No queued messages for the built-in sender.")
    rows = [
        (
            backlog.media,
            backlog.seconds,
            _depth(backlog),
            "late" if _is_late(backlog, settings) else "calm",
        )
        for backlog in active
    ]
    text = "Queued messages without an external system, by the age of the oldest. "
    text += " ".join(_state(backlog, settings) for backlog in active)
    description = f"Messages for {len(rows)} servers, by the age of the oldest."
    return Section("outgoing", heading, text, log_gauges(description, "media", rows))


def _is_late(backlog: Backlog, settings: Mapping[str, Any]) -> bool:
    """True if the built-in sender should have sent: without a configured server others fetch messages."""
    overdue = is_enabled(settings, backlog.media) and backlog.seconds > MAX_QUEUE_AGE
    return backlog.failures > 0 or overdue


def _depth(backlog: Backlog) -> str:
    entries = backlog.entries
    count = f"{MAX_COUNT:,}+" if entries >= MAX_COUNT else f"{entries:,}"
    return f"{count} queued, oldest {duration(backlog.seconds)}"


def _state(backlog: Backlog, settings: Mapping[str, Any]) -> str:
    if not is_enabled(settings, backlog.media):
        return f"{backlog.media}: not configured."
    parts = []
    if backlog.put_off:
        attempts = "1 attempt" if backlog.tries == 1 else f"up to {backlog.tries} attempts"
        parts.append(
            f"{backlog.put_off:,} deferred after {attempts}, last error {backlog.error},"
            f" next attempt in {duration(backlog.next_try)}"
        )
    if backlog.failures:
        retry = f", retrying in {duration(backlog.paused_for)}" if backlog.paused_for else ""
        parts.append(f"server unavailable ({backlog.server_error}): circuit open{retry}")
    return f"{backlog.media}: {'; '.join(parts) or 'server available'}."


def _requests(dashboard: Dashboard) -> Section:
    heading = "Open service requests"
    if not any(map(sum, dashboard.requests.values())):
        return Section("requests", heading, "No open service requests.")
    text = f"By state, at most {MOST:,} of each; overdue are those whose due date has passed."
    rows = [(humanize(state).capitalize(), counts) for state, counts in dashboard.requests.items()]
    overdue = sum(late for late, _ in dashboard.requests.values())
    description = f"Open service requests in {len(rows)} states, {overdue:,} of them overdue."
    return Section("requests", heading, text, bar_chart(description, "state", DUE_SERIES, rows))


def _events(dashboard: Dashboard, zone: ZoneInfo) -> Section:
    count = len(dashboard.events)
    first = dashboard.now - timedelta(hours=count)
    hours = [_hour(first + timedelta(hours=n), zone) for n in range(1, count)]
    values = list(zip([*hours, "now"], dashboard.events, strict=True))
    description = f"{sum(dashboard.events):,} events in {count} hours."
    text = f"{description} Each column is the hour up to the time below it."
    chart = column_chart(description, "hour up to", "calm", values)
    return Section("events", f"Events ({count} h)", text, chart)


def _hour(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%H:%M}"


def _projections(dashboard: Dashboard) -> Section:
    rows = [
        (
            humanize(view).capitalize(),
            lag.seconds,
            f"{lag.positions:,} events, {duration(lag.seconds)}{_parked(lag.parked)}",
            "late" if lag.seconds > LATE or lag.positions < 0 or lag.parked else "calm",
        )
        for view, lag in dashboard.lags.items()
    ]
    text = f"Head of the ledger: position {dashboard.head:,}. Lag: {_figures(rows)}."
    if any(lag.parked for lag in dashboard.lags.values()):
        text += " `crmledger views parked` lists the parked entities."
    text += " Read models are written with the events and have no lag."
    return Section("views", "Projections", text, log_gauges(text, "view", rows))


def _parked(entities: int) -> str:
    return f", {entities:,} parked" if entities else ""


def _figures(rows: Sequence[tuple[str, float, str, str]]) -> str:
    return "; ".join(f"{name} {figure}" for name, _, figure, _ in rows)


def _webhooks(dashboard: Dashboard) -> Section:
    rows = [
        (
            str(status.document["name"] or status.webhook),
            status.lag_seconds if status.is_active else 0.0,
            f"{status.display_state.lower()}, lag {status.lag_positions:,} events,"
            f" {duration(status.lag_seconds)}",
            "calm" if status.display_state == "ACTIVE" and status.lag_seconds <= LATE else "late",
        )
        for status in dashboard.webhooks
        if status.display_state not in ("RETIRED", "NOT_EFFECTIVE")
    ]
    if not rows:
        return Section("webhooks", "Webhooks", "No webhook subscriptions.")
    text = f"{_figures(rows)}."
    return Section("webhooks", "Webhooks", text, log_gauges(text, "subscription", rows))


def _seals(dashboard: Dashboard, zone: ZoneInfo) -> Section:
    if not dashboard.seals:
        return Section("seals", "Seals", f"No seals; {dashboard.head:,} unsealed events.")
    last = dashboard.seals[-1]
    time = f"{last.sealed_at.astimezone(zone):%d %b %Y, %H:%M:%S}"
    text = f"Last seal: number {last.number}, {time}, covers positions up to {last.last:,}."
    return Section("seals", "Seals", text, _seal_chart(text, dashboard, zone))


def _seal_chart(text: str, dashboard: Dashboard, zone: ZoneInfo) -> Chart:
    segments = [
        (
            seal.last - seal.first + 1,
            f"seal{seal.number % 2}",
            f"seal {seal.number}: {seal.first:,} to {seal.last:,}",
        )
        for seal in dashboard.seals
    ]
    segments.append((max(dashboard.unsealed, 0), "open", f"unsealed: {dashboard.unsealed:,}"))
    chart = segment_bar(text, ["seal", "from", "to", "sealed at"], segments)
    chart.rows = [_seal_row(seal, zone) for seal in reversed(dashboard.seals)]
    chart.legend = SEAL_SERIES
    return chart


def _seal_row(seal: SealSummary, zone: ZoneInfo) -> list[object]:
    time = f"{seal.sealed_at.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    return [seal.number, seal.first, seal.last, time]


def _errors(errors: Sequence[tuple[str, int]], seconds: float) -> Section:
    scope = f"in the last {duration(seconds)}, in the process that serves this page"
    if not errors:
        return Section("errors", "Errors", f"No errors {scope}.")
    text = f"{sum(count for _, count in errors):,} calls failed {scope}."
    return Section("errors", "Errors", text, code_chart(text, "code", "calls", errors[:CODES]))
