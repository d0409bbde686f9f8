"""``fields_set``: contract common.md, section 5."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidParameterType
from services.pipeline.fields_set import read_fields_set, select_keys


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        (",", None),
        ([], None),
        ("id", {"id"}),
        (" id , number ,", {"id", "number"}),
        (["id", " number "], {"id", "number"}),
        ("id,id", {"id"}),
        ("a.b,ID", {"a.b", "ID"}),
        (5, {"5"}),
        (1.5, {"1.5"}),
    ],
)
def test_read(value: Any, names: set[str] | None) -> None:
    expected = None if names is None else frozenset(names)
    assert read_fields_set(value, textual=False) == expected


def test_of_a_repeated_query_parameter_the_last_counts() -> None:
    assert read_fields_set(["id", "number,code"], textual=True) == {"number", "code"}
    assert read_fields_set(["id", ""], textual=True) is None


@pytest.mark.parametrize("value", [True, {}, {"id": 1}, [1], ["id", None], [["id"]]])
def test_refused(value: Any) -> None:
    with pytest.raises(InvalidParameterType, match="fields_set"):
        read_fields_set(value, textual=False)


@pytest.mark.parametrize(
    ("document", "names", "result"),
    [
        (b'{"id":"1","name":"x","n":10.50}', {"id", "n"}, b'{"id":"1","n":10.50}'),
        (b'{"a":{"b":[1, 2]},"b":1}', {"a", "a.b", "A"}, b'{"a":{"b":[1, 2]}}'),
        (b'{"id":"1"}', {"subscription"}, b"{}"),
        (b"{}", {"id"}, b"{}"),
        (b'{"\\u0061":18446744073709551616}', {"a"}, b'{"a":18446744073709551616}'),
        (b'{"id": "1"}', None, b'{"id": "1"}'),
    ],
)
def test_cut(document: bytes, names: set[str] | None, result: bytes) -> None:
    assert select_keys(document, None if names is None else frozenset(names)) == result


KEYS = st.sampled_from(["id", "name", "é", '"', ""])
OBJECTS = st.dictionaries(
    KEYS, st.none() | st.integers() | st.text() | st.dictionaries(KEYS, st.text())
)


@given(OBJECTS, st.frozensets(KEYS))
def test_cut_keeps_the_named_keys_whole(data: dict[str, object], names: frozenset[str]) -> None:
    expected = {name: value for name, value in data.items() if name in names}
    assert json.loads(select_keys(json.dumps(data).encode(), names)) == expected


@pytest.mark.parametrize("document", [b"1", b"[1]", b"{", b""])
def test_cut_does_not_hide_a_broken_document(document: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        select_keys(document, frozenset({"id"}))
