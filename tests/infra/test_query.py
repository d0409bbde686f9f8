"""Contract common.md, section 1, "GET parameters"."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidRequest
from infra.http.api.query_string import MAX_PARAMETERS, parse_query

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=8), st.sampled_from([quote_plus, quote]))
def test_reads_what_was_encoded(pairs: list[tuple[str, str]], encode: Callable[[str], str]) -> None:
    raw = "&".join(f"{encode(name)}={encode(value)}" for name, value in pairs)
    expected: dict[str, list[str]] = {}
    for name, value in pairs:
        expected.setdefault(name, []).append(value)
    assert parse_query(raw) == expected
    assert list(parse_query(raw)) == list(expected)


@pytest.mark.parametrize(
    ("raw", "parameters"),
    [
        ("", {}),
        ("a", {"a": [""]}),
        ("a=", {"a": [""]}),
        ("&a=1&&b=2&", {"a": ["1"], "b": ["2"]}),
        ("a=1&b=x&a=2", {"a": ["1", "2"], "b": ["x"]}),
        ("a=b+c%2Bd%20e", {"a": ["b c+d e"]}),
        ("i=number=CI000111&j=id%3D1", {"i": ["number=CI000111"], "j": ["id=1"]}),
        ("a=%D0%B6&b=ж", {"a": ["ж"], "b": ["ж"]}),
        ("a=%00&%3D=%26;c", {"a": ["\0"], "=": ["&;c"]}),
    ],
)
def test_examples(raw: str, parameters: dict[str, list[str]]) -> None:
    assert parse_query(raw) == parameters


@pytest.mark.parametrize(
    "raw",
    ["a=%", "a=%4", "a=%zz", "%u0041=1", "a=%+1", "a=%FF", "%C3=1", "a=%ED%A0%80", "a=\udcff"],
)
def test_undecodable_queries_are_refused(raw: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_query(raw)


def test_raw_utf8_bytes_as_the_http_parser_hands_them_over() -> None:
    assert parse_query("a=" + "ж".encode().decode("ascii", "surrogateescape")) == {"a": ["ж"]}


def test_parameters_are_limited() -> None:
    assert parse_query("&".join(["a=1"] * MAX_PARAMETERS)) == {"a": ["1"] * MAX_PARAMETERS}
    with pytest.raises(InvalidRequest, match=str(MAX_PARAMETERS)):
        parse_query("&".join(["a=1"] * (MAX_PARAMETERS + 1)))
