"""Parameter levels, sets and nested objects: the contract's common.md, section 4."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.composite_fields import ItemSet, Object, PartialDate, Reference
from domain.errors import (
    InvalidIdentifier,
    InvalidParameterType,
    InvalidParameterValue,
    MandatoryParameter,
    Refusal,
    SemiOptionalParameter,
)
from domain.fields import Level, Parameters, ReadContext, ResponseShape, mandatory, not_null, when
from domain.identifiers import Identifier, IdentifierFields
from domain.scalar_fields import Boolean, Date, Enumeration, Integer, Number, Text, udf
from services.pipeline.method import METHODS
from services.pipeline.request import File
from tests.fixtures.strategies import READING, ZONE, field_values, junk

ABSENT: Any = object()
NAME = Text(name="name")
CARD = IdentifierFields("card", ("id", "number"))


def outcome(parameters: Parameters, raw: Any, reading: ReadContext = READING) -> Any:
    """The given values, or (class, description) of the refusal."""
    try:
        return parameters.read(raw, reading)
    except Refusal as error:
        return type(error), error.description


@pytest.mark.parametrize(
    ("level", "value", "expected"),
    [
        (Level.OPTIONAL, ABSENT, {}),
        (Level.OPTIONAL, None, {"name": None}),
        (Level.OPTIONAL, "", {"name": None}),
        (Level.OPTIONAL, " ", {"name": None}),
        (Level.OPTIONAL, " x ", {"name": " x "}),
        (Level.OPTIONAL, "x", {"name": "x"}),
        (Level.MANDATORY, ABSENT, (MandatoryParameter, "name")),
        (Level.MANDATORY, None, (MandatoryParameter, "name")),
        (Level.MANDATORY, "", (MandatoryParameter, "name")),
        (Level.MANDATORY, "  ", (MandatoryParameter, "name")),
        (Level.MANDATORY, "x", {"name": "x"}),
        (Level.NOT_NULL, ABSENT, {}),
        (Level.NOT_NULL, None, (MandatoryParameter, "name")),
        (Level.NOT_NULL, " ", (MandatoryParameter, "name")),
        (Level.NOT_NULL, "x", {"name": "x"}),
        (Level.NOT_APPLICABLE, ABSENT, {}),
        (Level.NOT_APPLICABLE, None, {"name": None}),
        (Level.NOT_APPLICABLE, " ", {"name": None}),
        (Level.NOT_APPLICABLE, "x", (InvalidParameterValue, "name")),
    ],
)
def test_levels(level: Level, value: Any, expected: Any) -> None:
    raw = {} if value is ABSENT else {"name": value}
    assert outcome(Parameters((NAME, level)), raw) == expected


def test_a_level_may_depend_on_what_was_read_before() -> None:
    rule = when(NAME, lambda given: Level.MANDATORY if given.get("n") == 1 else Level.OPTIONAL)
    parameters = Parameters(Integer(name="n"), rule)
    assert outcome(parameters, {"n": 1}) == (MandatoryParameter, "name")
    assert outcome(parameters, {"n": 2}) == {"n": 2}


@pytest.mark.parametrize(
    ("given_names", "exactly_one", "at_least_one"),
    [("", False, False), ("a", True, True), ("b", True, True), ("a b", False, True)],
)
def test_groups(given_names: str, exactly_one: bool, at_least_one: bool) -> None:
    rows = (Text(name="a"), Text(name="b"))
    raw = dict.fromkeys(given_names.split(), "x") | {"c": "x"}
    for group, accepted in (
        ({"exactly_one": ("a", "b")}, exactly_one),
        ({"at_least_one": ("a", "b")}, at_least_one),
    ):
        found = outcome(Parameters(*rows, **group), raw)  # type: ignore[arg-type]
        expected = dict.fromkeys(given_names.split(), "x")
        assert found == (expected if accepted else (SemiOptionalParameter, "a, b"))


def test_nulls_do_not_count_in_a_group() -> None:
    parameters = Parameters(Text(name="a"), Text(name="b"), exactly_one=("a", "b"))
    assert outcome(parameters, {"a": "x", "b": None}) == {"a": "x", "b": None}
    assert outcome(parameters, {"a": None, "b": ""}) == (SemiOptionalParameter, "a, b")


def test_unknown_parameters_are_ignored_but_in_closed_objects_and_identifiers() -> None:
    assert outcome(Parameters(NAME), {"name": "x", "nmae": "y", "name ": "z"}) == {"name": "x"}
    open_, closed = (
        Object(name="o", fields=(NAME,)),
        Object(name="o", fields=(NAME,), forbid_unknown=True),
    )
    raw = {"o": {"name": "x", "more": 1}}
    assert outcome(Parameters(open_), raw) == {"o": {"name": "x"}}
    assert outcome(Parameters(closed), raw) == (InvalidIdentifier, "o")


def test_the_first_fault_in_the_tables_order_is_named() -> None:
    parameters = Parameters(mandatory(Integer(name="a")), mandatory(NAME), Integer(name="c"))
    assert outcome(parameters, {"c": "x", "a": "x"}) == (InvalidParameterType, "a")
    assert outcome(parameters, {"c": "x", "a": 1}) == (MandatoryParameter, "name")
    assert outcome(parameters, {"c": "x", "a": 1, "name": "n"}) == (InvalidParameterType, "c")


def test_of_a_repeated_query_parameter_the_last_counts() -> None:
    textual = ReadContext(READING.zone, READING.today, textual=True)
    assert outcome(Parameters(NAME), {"name": ["a", "b"]}, textual) == {"name": "b"}
    assert outcome(Parameters(NAME), {"name": ["a", "b"]}) == (InvalidParameterType, "name")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"day": 5, "month": 5, "year": 2014}, {"day": 5, "month": 5, "year": 2014}),
        ({"day": "5", "month": 5.0, "year": 2014}, {"day": 5, "month": 5, "year": 2014}),
        ({"day": 29, "month": 2, "year": 2024}, {"day": 29, "month": 2, "year": 2024}),
        ({"day": 1, "month": 3, "year": 2024}, (InvalidParameterValue, "d")),
        ({"day": 29, "month": 2, "year": 2023}, (InvalidParameterValue, "d")),
        ({"day": 5, "month": 5}, (InvalidParameterValue, "d")),
        ({"day": 5, "month": None, "year": 2014}, (InvalidParameterValue, "d")),
        ({"day": 0, "month": 1, "year": 2014}, (InvalidParameterValue, "d")),
        ({"day": 1, "month": 13, "year": 2014}, (InvalidParameterValue, "d")),
        ({"day": 1, "month": 1, "year": 0}, (InvalidParameterValue, "d")),
        ({"day": 1, "month": 1, "year": 10**12}, (InvalidParameterValue, "d")),
        ({"day": 1.5, "month": 1, "year": 2014}, (InvalidParameterType, "d.day")),
        ({}, None),
        ({"day": None, "month": None, "year": None}, None),
        ("2014-05-05", (InvalidParameterType, "d")),
        ({"day": "", "month": " ", "year": None}, None),
        ({"day": "", "month": 5, "year": 2014}, (InvalidParameterValue, "d")),
        ([], None),
        ([1], (InvalidParameterType, "d")),
    ],
)
def test_a_day_of_the_calendar(value: Any, expected: Any) -> None:
    found = outcome(Parameters(PartialDate(name="d")), {"d": value})
    assert found == (expected if isinstance(expected, tuple) else {"d": expected})


def test_a_name_day_may_be_the_29th_of_february() -> None:
    parameters = Parameters(PartialDate(name="d", parts=("day", "month")))
    assert outcome(parameters, {"d": {"day": 29, "month": 2}}) == {"d": {"day": 29, "month": 2}}
    assert outcome(parameters, {"d": {"day": 30, "month": 2}}) == (InvalidParameterValue, "d")


ENTRY = IdentifierFields("card", ("id", "type"))
SET = ItemSet(
    name="card_set",
    fields=(Enumeration(name="type", allowed=("RED", "BLUE")), NAME, Text(name="note")),
    item_identifier=ENTRY,
    required=frozenset({"type", "name"}),
    fixed=frozenset({"type"}),
)
WHOLE = {"type": "RED", "name": "x"}
NAMED = {"card_identifier": {"id": "1"}}
FOUND = Identifier("card", "id", "1", "card_set[0].card_identifier")


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (WHOLE, WHOLE | {"action": "ADD"}),
        (WHOLE | {"action": "add"}, WHOLE | {"action": "ADD"}),
        (WHOLE | {"action": None}, WHOLE | {"action": "ADD"}),
        (WHOLE | {"note": None, "more": 1}, WHOLE | {"note": None, "action": "ADD"}),
        (WHOLE | {"action": "UPDATE"}, (InvalidParameterValue, "card_set[0].action")),
        (WHOLE | {"action": "REMOVE"}, (InvalidParameterValue, "card_set[0].action")),
        (WHOLE | {"action": 1}, (InvalidParameterType, "card_set[0].action")),
        ({"type": "RED"}, (MandatoryParameter, "card_set[0].name")),
        ({"name": "x"}, (MandatoryParameter, "card_set[0].type")),
        (WHOLE | {"name": " "}, (MandatoryParameter, "card_set[0].name")),
        (WHOLE | {"type": "GREEN"}, (InvalidParameterValue, "card_set[0].type")),
        ("RED", (InvalidParameterType, "card_set[0]")),
        (None, (InvalidParameterType, "card_set[0]")),
    ],
)
def test_items_of_a_create(item: Any, expected: Any) -> None:
    found = outcome(Parameters(SET), {"card_set": [item]})
    assert found == (expected if isinstance(expected, tuple) else {"card_set": [expected]})


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (WHOLE | {"action": "ADD"}, WHOLE | {"action": "ADD"}),
        (WHOLE | NAMED | {"action": "ADD"}, WHOLE | {"action": "ADD"}),
        (WHOLE, (MandatoryParameter, "card_set[0].action")),
        (WHOLE | {"action": ""}, (MandatoryParameter, "card_set[0].action")),
        (WHOLE | {"action": "DROP"}, (InvalidParameterValue, "card_set[0].action")),
        ({"action": "ADD", "type": "RED"}, (MandatoryParameter, "card_set[0].name")),
        (NAMED | {"action": "UPDATE"}, {"action": "UPDATE", "identifier": FOUND}),
        (
            NAMED | {"action": "UPDATE", "type": "BLUE", "name": "y", "note": None},
            {"action": "UPDATE", "identifier": FOUND, "name": "y", "note": None},
        ),
        (NAMED | {"action": "UPDATE", "name": None}, (MandatoryParameter, "card_set[0].name")),
        ({"action": "UPDATE"}, (MandatoryParameter, "card_set[0].card_identifier")),
        (NAMED | {"action": "remove", "name": 7.5}, {"action": "REMOVE", "identifier": FOUND}),
        ({"action": "REMOVE"}, (MandatoryParameter, "card_set[0].card_identifier")),
    ],
)
def test_items_of_an_update(item: Any, expected: Any) -> None:
    found = outcome(Parameters(SET.for_update()), {"card_set": [item]})
    assert found == (expected if isinstance(expected, tuple) else {"card_set": [expected]})


@pytest.mark.parametrize("value", ["x", {}, 1, True])
def test_a_set_is_an_array(value: Any) -> None:
    assert outcome(Parameters(SET), {"card_set": value}) == (InvalidParameterType, "card_set")


def test_user_defined_fields_are_counted_once() -> None:
    names = [row.name for row in udf(string=2, floating=1, date=1)]
    assert names == ["udf_string_1", "udf_string_2", "udf_float_1", "udf_date_1"]


def test_every_key_is_sent() -> None:
    rows = (NAME, Boolean(name="b"), Boolean(name="v", numeric=True), Number(name="f"))
    nested = (
        Date(name="d", java_format=True),
        PartialDate(name="c"),
        Reference(name="r", target=CARD),
        SET,
    )
    sent = ResponseShape("thing", *rows, *nested, Object(name="o", fields=(NAME,))).render({}, ZONE)
    day = {"day": None, "month": None, "year": None}
    empty = {"name": None, "b": False, "v": 0, "f": None, "d": None, "c": day, "r": None}
    assert sent == empty | {"card_set": [], "o": {"name": None}}


@pytest.mark.parametrize("path", METHODS)
def test_a_method_refuses_only_what_the_catalogue_knows(path: str) -> None:
    parameters = METHODS[path].parameters
    names = st.sampled_from([row.parameter for row, _ in parameters] or ["token"])

    @settings(max_examples=15)
    @given(st.dictionaries(names, junk(), max_size=4))
    def a_body(raw: dict[str, Any]) -> None:
        assert is_answer(outcome(parameters, raw))

    @settings(max_examples=15)
    @given(st.dictionaries(names, st.lists(st.text(), min_size=1, max_size=3), max_size=4))
    def a_query(raw: dict[str, Any]) -> None:
        textual = ReadContext(READING.zone, READING.today, textual=True)
        assert is_answer(outcome(parameters, raw, textual))

    a_body()
    a_query()


def is_answer(found: Any) -> bool:
    return isinstance(found, dict) or issubclass(found[0], Refusal)


ROWS = {
    str(row): row
    for method in METHODS.values()
    for row, _ in method.parameters
    if not isinstance(row, File)
}


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.parameter)
def test_what_the_strategies_say_is_accepted(row: Any) -> None:
    @settings(max_examples=15)
    @given(field_values(row, {}))
    def accepted(value: Any) -> None:
        Parameters(not_null(row)).read({row.parameter: value}, READING)

    accepted()


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.parameter)
@pytest.mark.parametrize("blank", [None, "", " ", "\t\r\n", "\u00a0"], ids=repr)
def test_a_blank_text_is_null_for_parameters_of_all_types(row: Any, blank: Any) -> None:
    textual = ReadContext(READING.zone, READING.today, textual=True)
    for reading, value in ((READING, blank), (textual, [blank or ""]), (textual, ["x=1", ""])):
        if value != ["x=1", ""] or not isinstance(row, Reference):
            assert outcome(Parameters(row), {row.parameter: value}, reading) == {row.name: None}
            for required in (mandatory(row), not_null(row)):
                refused = outcome(Parameters(required), {row.parameter: value}, reading)
                assert refused == (MandatoryParameter, row.parameter)


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.parameter)
def test_an_empty_array_is_an_empty_object(row: Any) -> None:
    found = outcome(Parameters(row), {row.parameter: []})
    if isinstance(row, Reference | Object | PartialDate):
        assert found == outcome(Parameters(row), {row.parameter: {}})
    for nested in row.fields if isinstance(row, Object) else ():
        inner = [outcome(Parameters(row), {row.parameter: {nested.parameter: v}}) for v in ({}, [])]
        if isinstance(nested, Reference | Object | PartialDate):
            assert inner[0] == inner[1]


def test_a_blank_text_is_a_value_where_a_field_says_so() -> None:
    kept = Text(name="name", may_be_blank=True)
    for text in ("", " "):
        assert outcome(Parameters(kept), {"name": text}) == {"name": text}
    assert outcome(Parameters(mandatory(kept)), {"name": ""}) == {"name": ""}
    assert outcome(Parameters(mandatory(kept)), {"name": None}) == (MandatoryParameter, "name")


@pytest.mark.parametrize(
    "named", [None, "", {}, [], {"id": None}, {"id": " ", "type": ""}], ids=str
)
def test_an_item_whose_identifier_has_no_value(named: Any) -> None:
    for action in ("UPDATE", "REMOVE"):
        found = outcome(
            Parameters(SET.for_update()),
            {"card_set": [{"action": action, "card_identifier": named}]},
        )
        assert found == (MandatoryParameter, "card_set[0].card_identifier")


def test_an_item_may_be_an_empty_array() -> None:
    assert outcome(Parameters(SET), {"card_set": [[]]}) == (
        MandatoryParameter,
        "card_set[0].type",
    )
