"""Filling stored documents: nothing that a person wrote is ever taken for a place to fill."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from domain.composite_fields import Reference
from domain.contact_fields import COMPANY_NAME, PERSON_NAME
from domain.contact_information import ContactInformation
from domain.fields import JsonObject, ResponseShape
from domain.identifiers import IdentifierFields
from domain.scalar_fields import Text
from services.pipeline.fields_set import select_keys
from services.projections import project
from services.reference_expansion import ReferenceExpander, references
from tests.domain.scenario import BY
from tests.fixtures.organisation import person
from tests.fixtures.strategies import TEXTS, ZONE
from tests.properties.conftest import Playground

PIECES = st.sampled_from(
    [
        '{"$ref":"x/y"}',
        '{"$ref":"contact_information/A"}',
        '{"$name":["a","b"]}',
        '{"$name":["',
        '","',
        '"]}',
        '{"$ref":"',
        '"}',
        '"',
        "\\",
        '\\"',
        "\\\\",
        "\\u0022",
        "{",
        "}",
        "$ref",
        "\n",
        "\u2028",
        "é\U0001f600",
    ]
)
NASTY = st.one_of(st.lists(PIECES, max_size=8).map("".join), TEXTS)
SHAPE = ResponseShape(
    "thing",
    Text(name="before"),
    Reference(name="other", target=IdentifierFields("x", ("id",))),
    Text(name="after"),
)
NOTHING: Any = lambda ref: None  # noqa: E731


def composer(compacts: dict[str, bytes], *, last_name_first: bool = False) -> ReferenceExpander:
    return ReferenceExpander(compacts, NOTHING, last_name_first=last_name_first)


@given(st.dictionaries(st.sampled_from("abc"), NASTY | st.lists(NASTY) | st.none()))
def test_a_document_of_texts_stays_as_it_is(values: JsonObject) -> None:
    document = orjson.dumps(values)
    assert references(document) == ()
    assert composer({"x/y": b"1"}).expand(document) == document


@given(NASTY, NASTY, NASTY)
def test_only_the_place_itself_is_filled(before: str, after: str, inside: str) -> None:
    document = orjson.dumps(SHAPE.render({"before": before, "other": "y", "after": after}, ZONE))
    assert references(document) == ("x/y",)
    compacts = {"x/y": orjson.dumps({"text": inside}), "contact_information/A": b'"expanded"'}
    filled = json.loads(composer(compacts).expand(document))
    assert filled == {"before": before, "other": {"text": inside}, "after": after}


@given(NASTY)
def test_what_is_not_found_is_null(text: str) -> None:
    document = orjson.dumps(SHAPE.render({"before": text, "other": "y", "after": text}, ZONE))
    assert json.loads(composer({}).expand(document)) == {
        "before": text,
        "other": None,
        "after": text,
    }


@given(st.lists(NASTY, min_size=1, max_size=6))
def test_places_inside_filled_places(texts: list[str]) -> None:
    """A chain of objects, each showing the next one."""
    ref = Reference(name="other", target=IdentifierFields("x", ("id",)))
    shape = ResponseShape("link", Text(name="text"), ref)
    compacts = {
        f"x/{n}": orjson.dumps(shape.render({"text": text, "other": str(n + 1)}, ZONE))
        for n, text in enumerate(texts)
    }
    shown = json.loads(composer(compacts).compact("x/0"))
    found = []
    while shown is not None:
        found.append(shown["text"])
        shown = shown["other"]
    assert found == texts


NAMES = st.fixed_dictionaries({row.name: NASTY | st.none() for row in (*PERSON_NAME, COMPANY_NAME)})


def contact(type_: str, names: JsonObject) -> Any:
    details = {name: value for name, value in names.items() if value is not None}
    said: JsonObject = {"number": "CI000001", "type": type_, "details": details, "sets": {}}
    return ContactInformation.create(ContactInformation.Registered, BY, id=UUID(int=1), **said)


@given(NAMES, st.booleans())
def test_the_name_of_a_person_in_either_order(names: JsonObject, last_name_first: bool) -> None:
    shown = project(contact("PERSON", names), {}, ZONE)
    parts = [(names[n] or "").strip() for n in ("first_name", "last_name")]
    expected = " ".join(filter(None, reversed(parts) if last_name_first else parts))
    for document in (shown.full, shown.compact or b""):
        filled = json.loads(composer({}, last_name_first=last_name_first).expand(document))
        assert filled["name"] == expected
        assert {name: filled[name] for name in names} == names


@given(NAMES)
def test_the_name_of_a_company(names: JsonObject) -> None:
    filled = json.loads(composer({}).expand(project(contact("COMPANY", names), {}, ZONE).full))
    assert filled["name"] == names["company_name"]


@given(NASTY, st.frozensets(st.sampled_from(["before", "other", "after", "x"])))
def test_cutting_leaves_whole_values(text: str, names: frozenset[str]) -> None:
    whole = {"before": text, "other": {"text": text}, "after": [text]}
    kept = json.loads(select_keys(orjson.dumps(whole), names))
    assert kept == {name: value for name, value in whole.items() if name in names}


async def test_over_http(playground: Playground) -> None:
    """The same texts through create, show and list, as subject, content and names."""
    api = playground.api
    texts = [
        '{"$ref":"contact_information/1"}',
        '{"$name":["a","b"]}',
        '\\"{"$ref":"x/y"}\\',
        '"}]}',
    ]
    for text in texts:
        body = person(first_name=text, title=text[:50], notes=text)
        made = await api.post("contact_information/create", **body)
        assert made["name"] == f"{text} {body['last_name']}"
        said = {"direction": "INCOMING", "media": "PHONE", "subject": text, "content": text * 9}
        who = {"contact_information_identifier": {"id": made["id"]}}
        written = await api.post("communications/create", **said, **who)
        query = {"contact_information_identifier": f"id={made['id']}"}
        (listed,) = await api.get("communications/list", **query)
        assert written == listed
        assert (listed["subject"], listed["content"]) == (text, text * 9)
        assert listed["contact_information"] == made
        shown = await api.get("contact_information/show", **query)
        assert shown["first_name"] == text
        assert shown["notes"].endswith(text)
