"""The comparison itself: a golden test is worth no more than its matchers."""

from __future__ import annotations

import pytest

from tests.contract.matching import differences, is_matcher

ID = "0F" * 16


@pytest.mark.parametrize(
    ("matcher", "text"),
    [
        ("<id>", ID),
        ("<number:CM>", "CM000680"),
        ("<number:CI>", "CI1000000"),
        ("<number:ACT>", "ACT0000000142"),
        ("<number:SR>", "SR00000275"),
        ("<number>", "2701"),
        ("<digits:6>", "073482"),
        ("<digits:7>", "2264365"),
        ("<code>", "657"),
        ("<date>", "2015-04-30T13:23:51"),
        ("<java date>", "Mon May 05 15:49:59 EEST 2014"),
        ("<java date>", "Wed Jan 01 00:00:00 EET 2014"),
        ("<notes:Family>", "Marios Lannister 28/4/2015 16:51:51 Family"),
        ("<photo>", f"{ID}_key_contacts-profilephoto_a.png"),
        ("<photo:[a] b.jpg>", f"{ID}_key_contacts-profilephoto_[a] b.jpg"),
        ("<photo url>", f"/crm/ImageDownloadServlet?id={ID}"),
        ("<text>", "Entity not found"),
    ],
)
def test_matches(matcher: str, text: str) -> None:
    assert differences(matcher, text) == []


@pytest.mark.parametrize(
    ("matcher", "value"),
    [
        ("<id>", ID.lower()),
        ("<id>", ID + "0"),
        ("<id>", "1"),
        ("<id>", None),
        ("<number:CM>", "CM00680"),
        ("<number:CM>", "CI000680"),
        ("<number:ACT>", "ACT000142"),
        ("<number:SR>", "SR0000275"),
        ("<number>", "CM000680"),
        ("<number>", "007"),
        ("<number>", 7),
        ("<digits:6>", "73482"),
        ("<digits:6>", "0734821"),
        ("<digits:6>", "07348a"),
        ("<digits:6>", "\N{ARABIC-INDIC DIGIT ONE}73482"),
        ("<digits:6>", 734821),
        ("<code>", ""),
        ("<date>", "2015-04-30"),
        ("<date>", "2015-04-31T13:23:51"),
        ("<date>", "2015-4-30T13:23:51"),
        ("<date>", "2015-04-30T13:23:51Z"),
        ("<java date>", "Tue May 05 15:49:59 EEST 2014"),
        ("<java date>", "Mon May 05 15:49:59 UTC 2014"),
        ("<java date>", "2014-05-05T15:49:59"),
        ("<notes:Family>", "Family"),
        ("<notes:Family>", "Marios Lannister 28/04/2015 16:51:51 Family"),
        ("<notes:Family>", "demo 28/4/2015 16:51:51 Family"),
        ("<notes:Family>", "Marios Lannister 28/4/2015 16:51:51 Family\n"),
        ("<photo:a.jpg>", f"{ID}_key_contacts-profilephoto_b.jpg"),
        ("<photo url>", f"/crm/ImageDownloadServlet?id={ID}&token=x"),
        ("<text>", "  "),
    ],
)
def test_does_not_match(matcher: str, value: object) -> None:
    assert differences(matcher, value) == [f"$: expected {matcher!r}, got {value!r}"]


@pytest.mark.parametrize(
    "wrong",
    [
        "<nothing>",
        "<nothing:>",
        "<id:CM>",
        "<java date:x>",
        "<number:XX>",
        "<digits>",
        "<digits:>",
        "<digits:six>",
    ],
)
def test_unknown_matcher_is_a_mistake(wrong: str) -> None:
    with pytest.raises(ValueError, match="no matcher"):
        differences(wrong, "anything")


@pytest.mark.parametrize("text", ["plain", "<", "a <id>", "<id> b", "<A>", "<>"])
def test_other_text_is_literal(text: str) -> None:
    assert not is_matcher(text)
    assert differences(text, text) == []


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        (1, True),
        (0, False),
        (10, 10.0),
        (10, "10"),
        (None, ""),
        (None, False),
        ([], None),
        ({}, []),
    ],
)
def test_types_are_compared(expected: object, actual: object) -> None:
    assert len(differences(expected, actual)) == 1


def test_equal_answers() -> None:
    answer = {"a": [1, {"b": None}], "c": 497.41, "d": {}, "e": []}
    assert differences(answer, answer) == []


def test_key_order_does_not_matter() -> None:
    assert differences({"a": 1, "b": 2}, {"b": 2, "a": 1}) == []


def test_every_difference_is_reported_at_once() -> None:
    expected = {"status": {"code": "OK"}, "data": [{"id": "<id>", "gone": 1}, {"id": "<id>"}]}
    actual = {"status": {"code": "NO"}, "data": [{"id": "x", "new": [2]}]}
    assert sorted(differences(expected, actual)) == [
        "$.data: expected 2 elements, got 1",
        "$.data[0].gone: missing, expected 1",
        "$.data[0].id: expected '<id>', got 'x'",
        "$.data[0].new: not expected, got [2]",
        "$.status.code: expected 'OK', got 'NO'",
    ]


def test_order_of_arrays_matters() -> None:
    assert differences([1, 2], [2, 1]) == ["$[0]: expected 1, got 2", "$[1]: expected 2, got 1"]
