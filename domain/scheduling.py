"""The computed completion and priority of a service request.

Contract service_requests.md, sections 5.1 and 5.2. Dates are wall-clock texts; arithmetic on them
ignores daylight-saving changes (common.md, section 8).
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Mapping
from datetime import MAXYEAR, datetime, timedelta
from typing import Any

from domain.errors import InvalidParameterValue
from domain.fields import JsonObject

__all__ = ["check_dates", "later", "later_or_max", "period_between", "priority", "schedule"]

START, EXPECTED, ESTIMATED = "start_date", "expected_completion_date", "estimated_completion_time"
MINUTES = {"WEEKS": 7 * 24 * 60, "DAYS": 24 * 60, "HOURS": 60, "MINUTES": 1}
MONTHS = {"MONTHS": 1, "YEARS": 12}


def later(date: str, value: int, unit: str) -> str:
    """The date that is ``value`` units after ``date``; the last day of a month that is too short.

    Raises ``OverflowError`` beyond the year 9999.
    """
    start = datetime.fromisoformat(date)
    if unit in MINUTES:
        return (start + timedelta(minutes=value * MINUTES[unit])).isoformat()
    year, month = divmod(start.year * 12 + start.month - 1 + value * MONTHS[unit], 12)
    if year > MAXYEAR:
        raise OverflowError(year)
    day = min(start.day, monthrange(year, month + 1)[1])
    return start.replace(year=year, month=month + 1, day=day).isoformat()


def later_or_max(date: str, value: int, unit: str) -> str:
    """Like `later`, but the last of all dates where `later` raises ``OverflowError``."""
    try:
        return later(date, value, unit)
    except OverflowError:
        return f"{MAXYEAR}-12-31T23:59:59"


def period_between(start: str, end: str) -> JsonObject:
    """The time from ``start`` to ``end``: in minutes, rounded up, or a larger unit that divides them."""
    span = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    minutes = -(-span // timedelta(minutes=1))
    unit = next(
        u for u, size in MINUTES.items() if u == "MINUTES" or (minutes and not minutes % size)
    )
    return {"time_period_value": minutes // MINUTES[unit], "time_period_uot": unit}


def check_dates(values: JsonObject) -> None:
    """Raises `InvalidParameterValue` for an expected date before the start."""
    if values.get(START) and values.get(EXPECTED) and values[EXPECTED] < values[START]:
        raise InvalidParameterValue(EXPECTED)


def schedule(current: JsonObject, changes: JsonObject) -> JsonObject:
    """Start, expected date and estimated time after ``changes`` are applied to the current ones.

    Each of the latter two follows from the other; null for one clears both; a new start keeps the
    period. Raises `InvalidParameterValue` as `check_dates`, and for a period that ends after the
    year 9999.
    """
    start = changes.get(START) or current[START]
    expected, period = changes.get(EXPECTED), changes.get(ESTIMATED)
    if expected is None and period is None and not changes.keys() & {EXPECTED, ESTIMATED}:
        expected, period = current.get(EXPECTED), current.get(ESTIMATED)
        expected = expected if start == current[START] else None
    elif expected is not None:
        check_dates({START: start, EXPECTED: expected})
        period = period_between(start, expected)
    if expected is None and period is not None:
        try:
            expected = later(start, period["time_period_value"], period["time_period_uot"])
        except OverflowError as error:
            raise InvalidParameterValue(ESTIMATED) from error
    return {START: start, EXPECTED: expected, ESTIMATED: period}


def priority(urgency: str, impact: str, matrix: Iterable[Mapping[str, Any]]) -> str | None:
    """The priority level for two levels; by the organisation's matrix if that is not empty."""
    levels = {(row["urgency_level"], row["impact_level"]): row["priority_level"] for row in matrix}
    if levels:
        return levels.get((urgency, impact))
    if not (urgency.startswith("URGENCY") and impact.startswith("IMPACT")):
        return None
    return f"PRIORITY{int(urgency[-1]) + int(impact[-1]) - 1}"
