"""Identifiers: every row of the contract's common.md, section 3, that needs no database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import (
    InvalidIdentifier,
    InvalidParameterType,
    InvalidParameterValue,
    Refusal,
    SemiOptionalParameter,
)
from domain.identifiers import IdentifierFields, normalised
from domain.reference.catalogue import ENTITIES
from tests.fixtures.strategies import TEXTS, identifiers, junk

CONTACT = IdentifierFields("contact_information", ("id", "number", "id_number"))
COUNTRY = IdentifierFields("country", ("id", "name"), case_insensitive=frozenset({"name"}))
ADDRESS = IdentifierFields(
    "address", ("id", "type"), enumerated={"type": frozenset({"HOME", "POBOX"})}
)
HEX = "18686813304341ecafc8175a85594c9b"

NOT_ALLOWED, COUNT, TYPE, VALUE = (
    InvalidIdentifier,
    SemiOptionalParameter,
    InvalidParameterType,
    InvalidParameterValue,
)


def outcome(to: IdentifierFields, value: Any, *, textual: bool = False) -> Any:
    """Field and value of what is read, or the class it is refused with."""
    try:
        found = to.read(value, "its_name", textual=textual)
    except Refusal as error:
        refused = error
    else:
        if found is None:
            return None
        assert (found.entity, found.path) == (to.entity, "its_name")
        return found.field, found.value
    assert refused.description.startswith("its_name")
    return type(refused)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"number": "CI000111"}, ("number", "CI000111")),
        ({"number": 41}, ("number", "41")),
        ({"number": " CI000111 "}, ("number", "CI000111")),
        ({"number": "ci000111"}, ("number", "ci000111")),
        ({"id": HEX}, ("id", HEX.upper())),
        ({"id": f" {HEX} "}, ("id", HEX.upper())),
        ({"id": "abc"}, ("id", "abc")),
        ({"number": "1", "id": None}, ("number", "1")),
        ({"number": "1", "id": ""}, ("number", "1")),
        ({"number": "1", "code": None}, ("number", "1")),
        ({"number": "1", "code": "2"}, NOT_ALLOWED),
        ({"code": "2"}, NOT_ALLOWED),
        ({"number": "1", "id": "2", "code": "3"}, NOT_ALLOWED),
        ({"number": "1", "id": "2"}, COUNT),
        ({}, None),
        ([], None),
        ({"number": None}, None),
        ({"number": "", "id": " ", "code": "\t"}, None),
        ({"number": {"number": "1"}}, TYPE),
        ({"number": ["1"]}, TYPE),
        ({"number": True}, TYPE),
        ({"number": "x" * 256}, VALUE),
        ({"number": "\0"}, VALUE),
        ("number=1", NOT_ALLOWED),
        ([{"number": "1"}], NOT_ALLOWED),
        (41, NOT_ALLOWED),
        (True, NOT_ALLOWED),
    ],
)
def test_in_a_json_body(value: Any, expected: Any) -> None:
    assert outcome(CONTACT, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["number=CI000111"], ("number", "CI000111")),
        ("number=CI000111", ("number", "CI000111")),
        ([" number = CI000111 "], ("number", "CI000111")),
        (["id_number=a=b"], ("id_number", "a=b")),
        ([f"id={HEX}"], ("id", HEX.upper())),
        (['{"number":"CI000111"}'], ("number", "CI000111")),
        ([' {"number":41}'], ("number", "41")),
        (["number=1", "number=1"], COUNT),
        (["number=1", "id=2"], COUNT),
        (["number="], None),
        (["number= ", "code="], None),
        (["number=", "number=1"], ("number", "1")),
        (["{}"], None),
        (['{"number":""}'], None),
        (["code=1"], NOT_ALLOWED),
        (["CI000111"], NOT_ALLOWED),
        (["=CI000111"], NOT_ALLOWED),
        (['{"number":'], NOT_ALLOWED),
        (["{]"], NOT_ALLOWED),
        (['{"code":"1"}'], NOT_ALLOWED),
        (["[1]"], NOT_ALLOWED),
        (['{"number":NaN}'], NOT_ALLOWED),
        (['{"number":"\\ud800"}'], NOT_ALLOWED),
        (['{"number":' + "[" * 5000 + "1" + "]" * 5000 + "}"], NOT_ALLOWED),
        (['{"number":' + "9" * 5000 + "}"], NOT_ALLOWED),
    ],
)
def test_in_a_query_or_a_form(value: Any, expected: Any) -> None:
    assert outcome(CONTACT, value, textual=True) == expected


@pytest.mark.parametrize("value", [{"name": " CYPRUS"}, {"name": "Cyprus"}, {"name": "cyprus "}])
def test_folded_fields_ignore_case(value: Any) -> None:
    assert outcome(COUNTRY, value) == ("name", "cyprus")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"type": "home"}, ("type", "HOME")),
        ({"type": "CASTLE"}, VALUE),
        ({"type": 7}, TYPE),
        ({"id": "HOME"}, ("id", "HOME")),
    ],
)
def test_enumerated_fields_hold_words(value: Any, expected: Any) -> None:
    assert outcome(ADDRESS, value) == expected


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_entity_can_be_named_by_each_of_its_fields(entity: str) -> None:
    for field in ENTITIES[entity].fields:
        in_json = outcome(ENTITIES[entity], {field: " x "})
        assert in_json == outcome(ENTITIES[entity], [f"{field}= x "], textual=True)
        assert in_json == (field, "x")


@given(TEXTS, st.booleans())
def test_normalising_again_changes_nothing(text: str, folded: bool) -> None:
    once = normalised("id", text, case_insensitive=folded)
    assert normalised("id", once, case_insensitive=folded) == once


@given(st.sampled_from(list(ENTITIES)).flatmap(lambda e: identifiers(ENTITIES[e], {})))
def test_all_notations_mean_the_same(value: dict[str, str]) -> None:
    (field,) = value
    to = next(one for one in ENTITIES.values() if field in one.fields)
    expected = outcome(to, value)
    assert outcome(to, [f"{field}={value[field]}"], textual=True) == expected
    assert outcome(to, [json.dumps(value)], textual=True) == expected


@given(junk(), st.booleans())
def test_anything_is_read_or_refused(value: Any, textual: bool) -> None:
    outcome(CONTACT, value, textual=textual)


@given(st.dictionaries(st.sampled_from(["id", "number", "code"]), junk(), max_size=3))
def test_any_object_is_read_or_refused(value: Any) -> None:
    found = outcome(CONTACT, value)
    if isinstance(found, tuple):
        found[1].encode()
    assert outcome(CONTACT, [json.dumps(value)], textual=True) == found
