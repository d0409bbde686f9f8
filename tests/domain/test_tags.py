"""Substitution tags: the contract's communications.md, section 4."""

from __future__ import annotations

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


def filled(text: str) -> str:
    return resolve(text, lambda entity, field: VALUES.get((entity, field)))


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
    assert resolve(text, lambda entity, field: None) == text


TAGS = st.sampled_from(sorted(VALUES)).map(lambda tag: f"#{tag[0]}.{tag[1]}")
PLAIN = TEXTS.filter(lambda text: "#" not in text).map(lambda text: f" {text}")


@given(st.lists(st.tuples(TAGS, PLAIN)))
def test_each_tag_by_itself(pieces: list[tuple[str, str]]) -> None:
    text = "".join(tag + plain for tag, plain in pieces)
    assert filled(text) == "".join(filled(tag) + plain for tag, plain in pieces)


@given(TEXTS, TEXTS)
def test_an_inserted_value_is_not_looked_at(value: str, before: str) -> None:
    text = f"{before} #contact_information.name"
    expected = TAG.sub(lambda _: value, text)
    assert resolve(text, lambda entity, field: value) == expected
