"""Changes of passive fields: the laws of `difference` and `merged`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.diff import apply_diff, diff
from domain.fields import JsonObject

LEAVES = st.none() | st.integers(0, 3) | st.sampled_from(["", "a", "b"]) | st.booleans()
NESTED = st.dictionaries(st.sampled_from("xyz"), LEAVES, max_size=3)
LISTS = st.lists(LEAVES, max_size=2)
# A name holds one kind of value for ever: a scalar, a list or a nested object (or nothing).
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "s": LEAVES,
        "t": LEAVES,
        "l": st.none() | LISTS,
        "o": st.none() | NESTED,
        "p": NESTED,
    },
)


def read(values: JsonObject) -> JsonObject:
    """The values as a document shows them: unset and None are the same, at both depths."""
    found: JsonObject = {}
    for name, value in values.items():
        shown = value
        if isinstance(value, dict):
            shown = {key: member for key, member in value.items() if member is not None} or None
        if shown is not None:
            found[name] = shown
    return found


@pytest.mark.parametrize(
    ("current", "said", "expected"),
    [
        ({}, {}, {}),
        ({}, {"a": 1}, {"a": 1}),
        ({}, {"a": None}, {}),
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"a": 1, "b": 2}, {"b": 3}, {"b": 3}),
        ({"o": {"x": 1, "y": 2}}, {"o": {"x": 1}}, {}),
        ({"o": {"x": 1, "y": 2}}, {"o": {"y": 3, "z": None}}, {"o": {"y": 3}}),
        ({"o": {"x": 1}}, {"o": {}}, {}),
        ({"o": {"x": 1}}, {"o": None}, {"o": None}),
        ({"o": None}, {"o": {"x": 1}}, {"o": {"x": 1}}),
        ({}, {"o": {"x": None}}, {}),
        ({"l": [1]}, {"l": [1]}, {}),
        ({"l": [1]}, {"l": [2]}, {"l": [2]}),
    ],
)
def test_difference(current: JsonObject, said: JsonObject, expected: JsonObject) -> None:
    assert diff(current, said) == expected


@pytest.mark.parametrize(
    ("current", "changes", "expected"),
    [
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"o": {"x": 1, "y": 2}}, {"o": {"y": 3}}, {"o": {"x": 1, "y": 3}}),
        ({"o": {"x": 1}}, {"o": None}, {"o": None}),
        ({"o": None}, {"o": {"x": 1}}, {"o": {"x": 1}}),
        ({"l": [1, 2]}, {"l": [3]}, {"l": [3]}),
    ],
)
def test_merged(current: JsonObject, changes: JsonObject, expected: JsonObject) -> None:
    assert apply_diff(current, changes) == expected


@given(VALUES)
def test_nothing_differs_from_itself(a: JsonObject) -> None:
    assert diff(a, a) == {}
    assert apply_diff(a, {}) == a
    assert apply_diff(a, a) == a


@given(VALUES, VALUES)
def test_what_differs_is_all_that_is_needed(a: JsonObject, b: JsonObject) -> None:
    assert read(apply_diff(a, diff(a, b))) == read(apply_diff(a, b))


@given(VALUES, VALUES)
def test_once_merged_nothing_differs_any_more(a: JsonObject, b: JsonObject) -> None:
    now = apply_diff(a, diff(a, b))
    assert diff(now, b) == {}
    assert apply_diff(now, diff(a, b)) == now


@given(VALUES, VALUES)
def test_only_what_was_said_can_change(a: JsonObject, b: JsonObject) -> None:
    changes = diff(a, b)
    assert changes.keys() <= b.keys()
    for name, value in changes.items():
        assert value == b[name] or value.items() <= b[name].items()


@given(VALUES, VALUES)
def test_neither_is_edited(a: JsonObject, b: JsonObject) -> None:
    before = repr((a, b))
    apply_diff(a, diff(a, b))
    assert repr((a, b)) == before
