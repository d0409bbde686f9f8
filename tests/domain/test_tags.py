"""Substitution tags: the contract's communications.md, section 4."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.template_tags import TAG, resolve
from tests.fixtures.strategies import TEXTS

VALUES = {
    ("contact_information", "name"): "Ada Lovelace",
    ("unrestricted_string", "test"): "short",
    ("unrestricted_string", "test_string"): "long",
    ("unrestricted_float", "f"): "10",
    ("payment_gateway_card", "type"): "",
    ("unrestricted_string", "tag"): "#contact_information.name",
    ("a", "B9_"): "x",
}


LIMIT = 1_000_000


def filled(text: str) -> str | None:
    return resolve(text, lambda entity, field: VALUES.get((entity, field)), LIMIT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("no tag", "no tag"),
        ("#contact_information.name", "Ada Lovelace"),
        ("Dear #contact_information.name!", "Dear Ada Lovelace!"),
        ("#contact_information.name.", "Ada Lovelace."),
        ("#contact_information.name.x", "Ada Lovelace.x"),
        ("#contact_information.name#unrestricted_float.f", "Ada Lovelace10"),
        ("##contact_information.name", "#Ada Lovelace"),
        ("#unrestricted_string.test", "short"),
        ("#unrestricted_string.test_string", "long"),
        ("#unrestricted_string.test-string", "short-string"),
        ("#unrestricted_string.tests", "#unrestricted_string.tests"),
        ("#unrestricted_string.testé", "shorté"),
        ("card: '#payment_gateway_card.type'", "card: ''"),
        ("#unrestricted_string.tag", "#contact_information.name"),
        ("#contact_information.nam", "#contact_information.nam"),
        ("#nobody.name", "#nobody.name"),
        ("#Contact_information.name", "#Contact_information.name"),
        ("#contact_information. name", "#contact_information. name"),
        ("#contact_information", "#contact_information"),
        ("contact_information.name", "contact_information.name"),
        ("#a.B9_", "x"),
        ("#a.B9_\n", "x\n"),
    ],
)
def test_tags(text: str, expected: str) -> None:
    assert filled(text) == expected


@given(TEXTS)
def test_nothing_changes_where_no_tag_is_known(text: str) -> None:
    assert resolve(text, lambda entity, field: None, LIMIT) == text


TAGS = st.sampled_from(sorted(VALUES)).map(lambda tag: f"#{tag[0]}.{tag[1]}")
PLAIN = TEXTS.filter(lambda text: "#" not in text).map(lambda text: f" {text}")


@given(st.lists(st.tuples(TAGS, PLAIN)))
def test_each_tag_by_itself(pieces: list[tuple[str, str]]) -> None:
    text = "".join(tag + plain for tag, plain in pieces)
    assert filled(text) == "".join(f"{filled(tag)}{plain}" for tag, plain in pieces)


@given(TEXTS, TEXTS)
def test_an_inserted_value_is_not_looked_at(value: str, before: str) -> None:
    text = f"{before} #contact_information.name"
    expected = TAG.sub(lambda _: value, text)
    assert resolve(text, lambda entity, field: value, LIMIT) == expected


@pytest.mark.parametrize(("longest", "fits"), [(12, True), (11, False)])
def test_a_text_that_gets_too_long(longest: int, fits: bool) -> None:
    text = "#contact_information.name#payment_gateway_card.type"
    found = resolve(text, lambda entity, field: VALUES[entity, field], longest)
    assert found == ("Ada Lovelace" if fits else None)


def test_many_tags_of_a_long_value_need_no_memory() -> None:
    value = "x" * 10**6
    text = "#unrestricted_string.test" * 40_000
    tracemalloc.start()
    try:
        assert resolve(text, lambda entity, field: value, LIMIT) is None
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()
