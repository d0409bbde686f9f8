"""Every published example has its golden files, and every golden file is sound in itself."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests.contract.matching import AUTHOR, is_matcher
from tests.contract.scenes import (
    GOLDEN,
    Case,
    Json,
    base_records,
    cases,
    mentions,
    requested_fields,
    split_records,
)
from tests.contract.shapes import NOTHING, SHAPES, STATUS, assert_shape

CASES = {case.name: case for case in cases()}
INDEX: dict[str, list[Json]] = json.loads((GOLDEN / "index.json").read_text("utf-8"))
PRINTED, WRITTEN = INDEX["printed"], INDEX["written"]
"""Examples that a page prints; and those written from the contract where no page prints any.

A written one names the place of its method on a page without examples, or a contract section.
"""
EXAMPLES = {"000": 19, "001": 1, "002": 10, "003": 10}
"""Examples printed on each of the four pages, counted by hand: the index must not shrink."""

PART = {"query", "body", "raw_body", "form", "file"}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def test_index_holds_every_example() -> None:
    assert Counter(entry["seed"] for entry in PRINTED) == EXAMPLES
    assert not any(entry.get("seed") in EXAMPLES for entry in WRITTEN)
    sources = [tuple(source(entry).values()) for entry in [*PRINTED, *WRITTEN]]
    assert len(set(sources)) == len(sources)


@pytest.mark.parametrize("entry", [*PRINTED, *WRITTEN], ids=lambda entry: str(source(entry)))
def test_example_has_its_files(entry: Json) -> None:
    assert source(entry).keys() in ({"seed", "line"}, {"contract"})
    assert entry["files"]
    for name in entry["files"]:
        case = CASES[name]
        assert case.method == entry["method"]
        assert case.content["source"] == source(entry)


@pytest.mark.parametrize("name", [name for entry in WRITTEN for name in entry["files"]])
def test_what_nobody_printed_differs_from_nothing(name: str) -> None:
    assert CASES[name].content["differs"] == []


def test_every_file_is_indexed_once() -> None:
    indexed = Counter(name for entry in [*PRINTED, *WRITTEN] for name in entry["files"])
    assert indexed == Counter(CASES.keys())


def test_every_method_has_an_example() -> None:
    assert {case.method for case in CASES.values()} == SHAPES.keys()


@each_case
def test_file_is_complete(case: Case) -> None:
    assert case.content.keys() == {"title", "source", "differs", "given", "call", "response"}
    assert case.given.keys() - {"changes"} == {"records", "contacts", "calls"}
    assert case.content["title"].startswith(f"{case.method}: ")
    assert case.name.rsplit("_", 1)[0] == case.method
    for call in [*case.given["calls"], case.call]:
        assert call.keys() <= {"verb", "path", "alias"} | PART
        assert ("query" in call) == (call["verb"] == "GET")


@each_case
def test_expected_answer_has_the_shape(case: Case) -> None:
    response = case.response
    assert response.keys() == {"status", "data"}
    assert_shape(response["status"], STATUS)
    failed = response["status"]["code"] != "OK"
    shape = NOTHING if failed else SHAPES[case.method]
    assert_shape(response["data"], shape, None if failed else requested_fields(case.call))


@each_case
def test_matchers_are_known_and_only_expected(case: Case) -> None:
    assert not any(is_matcher(text) for text in strings([case.given, case.call]))
    for text in strings(case.response):
        is_matcher(text)  # raises for one that does not exist


@each_case
def test_aliases_exist_when_mentioned(case: Case) -> None:
    known: set[str] = set()
    early, late = split_records(case.given["records"])
    before = [early, *case.given["contacts"], late, *case.given["calls"]]
    for step in [*before, case.given.get("changes", []), case.call, case.response]:
        assert {found["alias"] for found in mentions(step)} <= known
        alias = step.get("alias") if isinstance(step, dict) else None
        assert alias not in known
        known |= {alias} if alias else set()


@each_case
def test_records_are_in_link_order(case: Case) -> None:
    seen: set[str] = set()
    given = [*case.given["records"], *case.given.get("changes", [])]
    for record in [*base_records(), *given]:
        for link in links(record):
            assert link in seen or link.startswith("@"), f"{record['kind']} links to {link}"
        seen.add(record["id"])


def test_base_records() -> None:
    records = base_records()
    kinds = Counter(record["kind"] for record in records)
    assert (kinds["organisation"], kinds["user"]) == (1, 1)
    (user,) = (record for record in records if record["kind"] == "user")
    assert (user["username"], user["person_name"]) == ("demo", AUTHOR)
    others = [record for record in records if record["kind"] != "organisation"]
    assert {record["organisation"] for record in others} == {"GOLDEN"}
    assert not any(mentions(records))


def source(entry: Json) -> Json:
    """Where an entry of the index comes from, as its files say it."""
    return {key: entry[key] for key in ("seed", "line", "contract") if key in entry}


def strings(value: object) -> list[str]:
    """Every string value at any depth."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) else []


def links(record: Json) -> list[str]:
    """The ids a record links to; the default country is a setting and may point to nothing."""
    found: list[str] = []
    for key, value in record.items():
        if key.endswith("_id") and key != "default_country_id":
            found.append(value)
        elif key.endswith("_ids"):
            found += value.values() if isinstance(value, dict) else value
        elif isinstance(value, dict):
            found += links(value)
    return found
