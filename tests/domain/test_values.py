"""The value types: every row of the contract's common.md, sections 7 and 8."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from unicodedata import normalize
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidParameterType, InvalidParameterValue
from domain.parsing import (
    comparable,
    java_date,
    local_time,
    number,
    read_boolean,
    read_date,
    read_enumeration,
    read_integer,
    read_moment,
    read_number,
    read_text,
    wall_clock,
)
from tests.fixtures.strategies import TEXTS, ZONE

TYPE, VALUE = InvalidParameterType, InvalidParameterValue
MEDIA = frozenset({"FACE_TO_FACE", "EMAIL", "COMPLETED", "IN_PROGRESS", "TEMPORARY_RESOLVED"})
A_DAY = timedelta(days=1)
MOMENTS = st.integers(1, 3_650_000).map(lambda days: datetime(1, 1, 1) + days * A_DAY / 7)  # noqa: DTZ001
STRUCTURES: list[Any] = [[], {}, ["a"], {"a": 1}]


def outcome(read: Any, value: Any, *more: Any) -> Any:
    """What a reader makes of a value, or the class it refuses it with; the refusal names it."""
    try:
        return read(value, "its_name", *more)
    except (TYPE, VALUE) as error:
        refused = error
    assert refused.description == "its_name"
    return type(refused)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text", "text"),
        ("  kept  ", "  kept  "),
        ("", ""),
        (2, "2"),
        (2.0, "2"),
        (2.5, "2.5"),
        (-7, "-7"),
        (10**30, str(10**30)),
        (True, TYPE),
        (False, TYPE),
        *((structure, TYPE) for structure in STRUCTURES),
        ("x" * 255, "x" * 255),
        ("x" * 256, VALUE),
        ("\U0001f600" * 255, "\U0001f600" * 255),
        ("a\0b", VALUE),
        (1e300, str(1e300)),
    ],
)
def test_string(value: Any, expected: Any) -> None:
    assert outcome(read_text, value) == expected


@pytest.mark.parametrize(("longest", "fits"), [(255, True), (4000, True), (65535, True)])
def test_text_limits(longest: int, fits: bool) -> None:
    assert (outcome(read_text, "x" * longest, longest) == "x" * longest) is fits
    assert outcome(read_text, "x" * (longest + 1), longest) is VALUE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10, 10),
        ("10", 10),
        (" 10 ", 10),
        ("-3", -3),
        ("+3", 3),
        ("007", 7),
        (10.0, 10),
        ("10.0", 10),
        ("10.", 10),
        (10.5, TYPE),
        ("10.5", TYPE),
        ("", TYPE),
        ("ten", TYPE),
        ("1e3", TYPE),
        ("٣", TYPE),
        ("1_000", TYPE),
        (True, TYPE),
        *((structure, TYPE) for structure in STRUCTURES),
        (2**53 - 1, 2**53 - 1),
        (2**53, VALUE),
        (-(2**53), VALUE),
        ("9" * 20, VALUE),
        (1e300, VALUE),
    ],
)
def test_integer(value: Any, expected: Any) -> None:
    assert outcome(read_integer, value) == expected


@pytest.mark.parametrize(("value", "inside"), [(0, False), (1, True), (1000, True), (1001, False)])
def test_integer_within_its_range(value: int, inside: bool) -> None:
    assert outcome(read_integer, value, 1, 1000) == (value if inside else VALUE)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (10, 10),
        ("10", 10),
        (10.0, 10),
        (497.41, 497.41),
        ("497.41", 497.41),
        ("497.410", 497.41),
        (" -.5 ", -0.5),
        ("1e3", 1000),
        (-0.0, 0),
        (True, TYPE),
        ("", TYPE),
        ("1,5", TYPE),
        ("NaN", TYPE),
        ("Infinity", TYPE),
        ("0x1F", TYPE),
        *((structure, TYPE) for structure in STRUCTURES),
        ("1e999", VALUE),
        (float("inf"), VALUE),
        (2**53, VALUE),
        (1e300, 1e300),
    ],
)
def test_number(value: Any, expected: Any) -> None:
    assert outcome(read_number, value) == expected


@pytest.mark.parametrize("whole", [10.0, "10", "10.0", "1e1", 10])
def test_whole_numbers_have_no_decimals(whole: Any) -> None:
    assert json.dumps(read_number(whole, "n")) == "10"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((truth, True) for truth in (True, 1, "1", "true", "TRUE", " True ")),
        *((untruth, False) for untruth in (False, 0, "0", "false", "False")),
        *((wrong, TYPE) for wrong in (2, -1, "yes", "", 1.0, 0.0, "01")),
        *((structure, TYPE) for structure in STRUCTURES),
    ],
)
def test_boolean(value: Any, expected: Any) -> None:
    found = outcome(read_boolean, value)
    assert found is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("EMAIL", "EMAIL"),
        ("email", "EMAIL"),
        ("  Email ", "EMAIL"),
        ("F2F", "FACE_TO_FACE"),
        ("f2f", "FACE_TO_FACE"),
        ("face to face", "FACE_TO_FACE"),
        ("FACE-TO-FACE", "FACE_TO_FACE"),
        ("IN PROGRESS", "IN_PROGRESS"),
        ("TEMPORARY RESOLVED", "TEMPORARY_RESOLVED"),
        ("COMPLETE", "COMPLETED"),
        ("FAX", VALUE),
        ("", VALUE),
        (1, TYPE),
        (True, TYPE),
        *((structure, TYPE) for structure in STRUCTURES),
    ],
)
def test_enumeration(value: Any, expected: Any) -> None:
    assert outcome(read_enumeration, value, MEDIA) == expected


def test_an_alias_means_nothing_where_its_word_is_not_allowed() -> None:
    assert outcome(read_enumeration, "F2F", frozenset({"EMAIL"})) is VALUE
    assert outcome(read_enumeration, "COMPLETE", frozenset({"COMPLETE"})) == "COMPLETE"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2014-05-05T15:49:59", "2014-05-05T15:49:59"),
        ("2014-05-05", "2014-05-05T00:00:00"),
        ("2014-05-05 15:49:59", "2014-05-05T15:49:59"),
        ("2014-05-05T15:49:59.999", "2014-05-05T15:49:59"),
        (" 2014-05-05 ", "2014-05-05T00:00:00"),
        ("2014-05-05T12:49:59Z", "2014-05-05T15:49:59"),
        ("2014-01-05T12:49:59Z", "2014-01-05T14:49:59"),
        ("2014-05-05T15:49:59+03:00", "2014-05-05T15:49:59"),
        ("2014-05-05T15:49:59+0300", "2014-05-05T15:49:59"),
        ("2014-05-05T15:49:59.5 -05:00", "2014-05-05T23:49:59"),
        ("2016-02-29", "2016-02-29T00:00:00"),
        ("2015-02-29", VALUE),
        ("2014-02-30T10:00:00", VALUE),
        ("2014-13-01", VALUE),
        ("2014-05-05T25:00:00", VALUE),
        ("2014-05-05T10:60:00", VALUE),
        ("0000-01-01", VALUE),
        ("0001-01-01T00:00:00+10:00", VALUE),
        ("9999-12-31T23:59:59-10:00", VALUE),
        ("2014-05-05T10:00:00+99:00", VALUE),
        ("5/5/2014", TYPE),
        ("2014-5-5", TYPE),
        ("2014-05-05T15:49", TYPE),
        ("2014-05-05Z", TYPE),
        ("today", TYPE),
        ("", TYPE),
        ("\u0662\u0660\u0661\u0664-05-05", TYPE),
        (20140505, TYPE),
        (True, TYPE),
        *((structure, TYPE) for structure in STRUCTURES),
    ],
)
def test_date(value: Any, expected: Any) -> None:
    assert outcome(read_date, value, ZONE) == expected


@pytest.mark.parametrize(
    ("kept", "zone", "sent"),
    [
        ("2014-05-05T15:49:59", "Asia/Nicosia", "Mon May 05 15:49:59 EEST 2014"),
        ("2014-01-06T07:08:09", "Asia/Nicosia", "Mon Jan 06 07:08:09 EET 2014"),
        ("2014-12-31T00:00:00", "UTC", "Wed Dec 31 00:00:00 UTC 2014"),
        ("0999-03-02T00:00:00", "UTC", "Sat Mar 02 00:00:00 UTC 0999"),
        ("2026-10-25T03:30:24", "Asia/Nicosia", "Sun Oct 25 03:30:24 EEST 2026"),
        ("2026-10-25T03:30:24+02:00", "Asia/Nicosia", "Sun Oct 25 03:30:24 EET 2026"),
    ],
)
def test_java_style(kept: str, zone: str, sent: str) -> None:
    assert java_date(kept, ZoneInfo(zone)) == sent


@given(st.datetimes())
def test_a_sent_date_is_read_as_itself(moment: datetime) -> None:
    text = moment.replace(microsecond=0).isoformat()
    assert read_date(text, "d", ZONE) == text
    assert read_date(read_date(text, "d", ZONE), "d", ZONE) == text


@given(MOMENTS)
def test_a_moment_is_read_as_the_wall_clock_shows_it(moment: datetime) -> None:
    utc = moment.replace(microsecond=0, tzinfo=ZoneInfo("UTC"))
    assert read_date(utc.isoformat(), "d", ZONE) == wall_clock(utc, ZONE)


SUMMER_ENDS = datetime.fromisoformat("2026-10-25T01:00:00")
NIGHT = st.integers(-7200, 7200).map(lambda seconds: SUMMER_ENDS + timedelta(seconds=seconds))


@given(MOMENTS | NIGHT)
def test_a_local_time_is_one_moment(moment: datetime) -> None:
    utc = moment.replace(microsecond=0, tzinfo=ZoneInfo("UTC"))
    text = local_time(utc, ZONE)
    read = datetime.fromisoformat(text)
    assert (read if read.tzinfo else read.replace(tzinfo=ZONE)).astimezone(UTC) == utc
    assert read_date(utc.isoformat(), "d", ZONE, repeated=True) == text
    assert read_date(text, "d", ZONE) == wall_clock(utc, ZONE)
    assert java_date(text, ZONE).split(" ")[4] == utc.astimezone(ZONE).tzname()


@given(st.datetimes())
def test_every_kept_date_has_a_java_style(moment: datetime) -> None:
    day, month, date, clock, _, year = java_date(moment.isoformat(), ZONE).split(" ")
    read = datetime.strptime(f"{month} {date} {year} {clock}", "%b %d %Y %H:%M:%S")  # noqa: DTZ007
    assert (read, read.strftime("%a")) == (moment.replace(microsecond=0), day)


@given(TEXTS)
def test_a_text_is_kept_as_it_is(text: str) -> None:
    assert read_text(text, "t", 65535) == text


@given(st.integers(-(2**53) + 1, 2**53 - 1))
def test_an_integer_and_its_text_are_the_same(value: int) -> None:
    assert read_integer(str(value), "n") == read_integer(value, "n") == value
    assert read_number(str(value), "n") == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_json(value: float) -> None:
    kept = number(value, "n")
    assert read_number(json.loads(json.dumps(kept)), "n") == kept == value


@given(st.text(), st.sampled_from(sorted(MEDIA)))
def test_an_enumeration_is_one_of_its_words_or_refused(text: str, word: str) -> None:
    assert outcome(read_enumeration, text, MEDIA) in {*MEDIA, VALUE}
    spelled = f" {word.lower().replace('_', ' ')} "
    assert outcome(read_enumeration, spelled, MEDIA) == word


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2014-05-05T15:49:59", "2014-05-05T12:49:59+00:00"),
        ("2014-05-05T15:49:59.25", "2014-05-05T12:49:59.250000+00:00"),
        ("2014-05-05T15:49:59.1234567Z", "2014-05-05T15:49:59.123456+00:00"),
        ("2014-05-05 15:49:59+0530", "2014-05-05T10:19:59+00:00"),
        ("2014-01-05", "2014-01-04T22:00:00+00:00"),
        # The clock shows 03:30 twice that night; an offset says which one is meant.
        ("2014-10-26T03:30:00", "2014-10-26T00:30:00+00:00"),
        ("2014-10-26T03:30:00+02:00", "2014-10-26T01:30:00+00:00"),
    ],
)
def test_a_moment_is_exact(text: str, moment: str) -> None:
    assert read_moment(text, "at", ZONE).isoformat() == moment


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-01:00"])
def test_a_moment_outside_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(InvalidParameterValue):
        read_moment(text, "at", ZONE)


@given(TEXTS, st.booleans())
def test_canonically_equal_texts_compare_as_one(text: str, ignore_case: bool) -> None:
    forms = {comparable(normalize(f, text), ignore_case=ignore_case) for f in ("NFC", "NFD")}
    assert forms == {comparable(text, ignore_case=ignore_case)}
    assert {comparable(form, ignore_case=ignore_case) for form in forms} == forms


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("José", "Jose\u0301"),
        ("Å", "\u212b"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("가", "\u1100\u1161"),
    ],
)
def test_texts_that_compare_as_one(one: str, other: str) -> None:
    assert comparable(one) == comparable(other)
    assert comparable(one.lower(), ignore_case=True) == comparable(other.upper(), ignore_case=True)


@pytest.mark.parametrize(
    ("one", "other"), [("José", "Jose"), ("ﬁ", "fi"), ("x²", "x2"), ("a", "A"), ("ß", "ss")]
)
def test_texts_that_differ(one: str, other: str) -> None:
    assert comparable(one) != comparable(other)
