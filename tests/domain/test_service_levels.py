"""Completion dates and priority: contract service_requests.md, sections 5.1 and 5.2."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.errors import InvalidParameterValue
from domain.fields import JsonObject
from domain.scheduling import later, later_or_max, period_between, priority, schedule

START = "2024-01-31T09:00:00"
UNITS = st.sampled_from(["MINUTES", "HOURS", "DAYS", "WEEKS", "MONTHS", "YEARS"])
DATES = st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat())


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (90, "MINUTES", "2024-01-31T10:30:00"),
        (24, "HOURS", "2024-02-01T09:00:00"),
        (1, "DAYS", "2024-02-01T09:00:00"),
        (2, "WEEKS", "2024-02-14T09:00:00"),
        (1, "MONTHS", "2024-02-29T09:00:00"),
        (3, "MONTHS", "2024-04-30T09:00:00"),
        (12, "MONTHS", "2025-01-31T09:00:00"),
        (13, "MONTHS", "2025-02-28T09:00:00"),
        (1, "YEARS", "2025-01-31T09:00:00"),
        (7975, "YEARS", "9999-01-31T09:00:00"),
    ],
)
def test_later(value: int, unit: str, expected: str) -> None:
    assert later(START, value, unit) == later_or_max(START, value, unit) == expected


def test_days_ignore_the_change_of_clocks() -> None:
    assert later("2024-03-30T09:00:00", 1, "DAYS") == "2024-03-31T09:00:00"
    assert later("2024-03-31T02:30:00", 60, "MINUTES") == "2024-03-31T03:30:00"


def test_leap_days() -> None:
    assert later("2024-02-29T00:00:00", 1, "YEARS") == "2025-02-28T00:00:00"
    assert later("2024-02-29T00:00:00", 48, "MONTHS") == "2028-02-29T00:00:00"


@pytest.mark.parametrize("unit", ["MINUTES", "HOURS", "DAYS", "WEEKS", "MONTHS", "YEARS"])
def test_beyond_all_dates(unit: str) -> None:
    for value in (10**10, 10**30):
        with pytest.raises(OverflowError):
            later(START, value, unit)
        assert later_or_max(START, value, unit) == "9999-12-31T23:59:59"
        period = {"time_period_value": value, "time_period_uot": unit}
        with pytest.raises(InvalidParameterValue) as caught:
            schedule({"start_date": START}, {"estimated_completion_time": period})
        assert caught.value.description == "estimated_completion_time"


@pytest.mark.parametrize(
    ("end", "value", "unit"),
    [
        ("2024-01-31T09:00:00", 0, "MINUTES"),
        ("2024-01-31T09:00:01", 1, "MINUTES"),
        ("2024-01-31T10:00:00", 1, "HOURS"),
        ("2024-01-31T10:00:01", 61, "MINUTES"),
        ("2024-02-01T09:00:00", 1, "DAYS"),
        ("2024-02-07T09:00:00", 1, "WEEKS"),
        ("2024-03-31T09:00:00", 60, "DAYS"),
        ("2025-01-29T09:00:00", 52, "WEEKS"),
    ],
)
def test_period_between(end: str, value: int, unit: str) -> None:
    assert period_between(START, end) == {"time_period_value": value, "time_period_uot": unit}


@given(start=DATES, end=DATES)
def test_a_period_leads_to_its_end_within_a_minute(start: str, end: str) -> None:
    start, end = min(start, end), max(start, end)
    period = period_between(start, end)
    try:
        reached = later(start, period["time_period_value"], period["time_period_uot"])
    except OverflowError:
        return
    over = datetime.fromisoformat(reached) - datetime.fromisoformat(end)
    assert 0 <= over.total_seconds() < 60


@given(start=DATES, value=st.integers(1, 5000), unit=UNITS)
def test_later_is_later(start: str, value: int, unit: str) -> None:
    try:
        reached = later(start, value, unit)
    except OverflowError:
        assume(False)
    assert reached > start


PERIOD: JsonObject = {"time_period_value": 1, "time_period_uot": "MONTHS"}
CURRENT: JsonObject = {
    "start_date": START,
    "expected_completion_date": "2024-02-29T09:00:00",
    "estimated_completion_time": PERIOD,
}


@pytest.mark.parametrize(
    ("said", "start", "expected", "period"),
    [
        ({}, START, "2024-02-29T09:00:00", PERIOD),
        ({"start_date": START}, START, "2024-02-29T09:00:00", PERIOD),
        ({"start_date": "2024-05-31T00:00:00"}, "2024-05-31T00:00:00", "2024-06-30T00:00:00", PERIOD),
        ({"expected_completion_date": None}, START, None, None),
        ({"estimated_completion_time": None}, START, None, None),
        (
            {"expected_completion_date": None, "estimated_completion_time": PERIOD},
            START,
            "2024-02-29T09:00:00",
            PERIOD,
        ),
        (
            {"expected_completion_date": "2024-02-29T09:00:00"},
            START,
            "2024-02-29T09:00:00",
            {"time_period_value": 29, "time_period_uot": "DAYS"},
        ),
    ],
)  # fmt: skip
def test_scheduled(
    said: JsonObject, start: str, expected: str | None, period: JsonObject | None
) -> None:
    assert schedule(CURRENT, said) == {
        "start_date": start,
        "expected_completion_date": expected,
        "estimated_completion_time": period,
    }


def test_expected_before_the_start() -> None:
    with pytest.raises(InvalidParameterValue) as caught:
        schedule(CURRENT, {"expected_completion_date": "2024-01-31T08:59:59"})
    assert caught.value.description == "expected_completion_date"


@pytest.mark.parametrize("urgency", [1, 2, 3])
@pytest.mark.parametrize("impact", [1, 2, 3])
def test_the_default_matrix(urgency: int, impact: int) -> None:
    found = priority(f"URGENCY{urgency}", f"IMPACT{impact}", [])
    assert found == f"PRIORITY{urgency + impact - 1}"


@pytest.mark.parametrize(
    "pair", [("CUSTOM1", "IMPACT1"), ("URGENCY1", "CUSTOM5"), ("CUSTOM1",) * 2]
)
def test_custom_levels_need_a_row(pair: tuple[str, str]) -> None:
    assert priority(*pair, []) is None
    row = {"urgency_level": pair[0], "impact_level": pair[1], "priority_level": "CUSTOM3"}
    assert priority(*pair, [row]) == "CUSTOM3"
    assert priority("URGENCY1", "IMPACT1", [row]) is None
