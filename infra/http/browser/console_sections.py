"""Sections of the console, and what they share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.delivery.backlog import LATE, MOST, Backlog, is_enabled
from infra.http.browser.charts import Chart, log_gauges

__all__ = ["Section", "duration", "outgoing"]

LENGTHS: Mapping[str, float] = {"d": 86_400.0, "h": 3_600.0, "min": 60.0}


@dataclass(frozen=True, slots=True)
class Section:
    """A picture with its heading; ``said`` is what there is to say beside or instead of it."""

    id: str
    heading: str
    said: str
    picture: Chart | None = None


def duration(seconds: float) -> str:
    """A time as people say it, in its largest unit."""
    for unit, length in LENGTHS.items():
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "under 1 s"


def outgoing(backlogs: Sequence[Backlog], settings: Mapping[str, Any]) -> Section:
    """What the service itself has to send, and what keeps it from doing so."""
    heading = "Sent by ourselves"
    shown = [one for one in backlogs if one.entries or one.failures]
    if not shown:
        return Section("outgoing", heading, "Nothing waits for our own servers.")
    rows = [
        (one.media, one.seconds, _waiting(one), "late" if _is_late(one, settings) else "calm")
        for one in shown
    ]
    said = "What waits without an external system, and for how long. "
    said += " ".join(_said(one, settings) for one in shown)
    described = f"Messages for {len(rows)} servers of our own, by how long the first has waited."
    return Section("outgoing", heading, said, log_gauges(described, "media", rows))


def _is_late(one: Backlog, settings: Mapping[str, Any]) -> bool:
    """Whether something that should go does not; where no server is set others fetch it."""
    return one.failures > 0 or (is_enabled(settings, one.media) and one.seconds > LATE)


def _waiting(one: Backlog) -> str:
    count = f"{MOST:,}+" if one.entries >= MOST else f"{one.entries:,}"
    return f"{count} wait, the first for {duration(one.seconds)}"


def _said(one: Backlog, settings: Mapping[str, Any]) -> str:
    if not is_enabled(settings, one.media):
        return f"{one.media}: no server is set."
    parts = []
    if one.put_off:
        often = "once" if one.tries == 1 else f"up to {one.tries} times"
        again = f"the next try in {duration(one.next_try)}"
        parts.append(f"{one.put_off:,} were tried {often}, the last error is {one.error}, {again}")
    if one.failures:
        rests = f", it is left alone for {duration(one.paused_for)}" if one.paused_for else ""
        parts.append(f"the server cannot be used ({one.server_error}){rests}")
    return f"{one.media}: {'; '.join(parts) or 'the server works'}."
