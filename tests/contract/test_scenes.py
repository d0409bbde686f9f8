"""The player of golden files, against a service that only remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.scenes import (
    Case,
    Json,
    Scene,
    base_records,
    cases,
    mentions,
    requested_fields,
)

OK = {"code": "OK", "message": "", "description": ""}


class Recorder:
    """An `api` that answers every call with the data prepared for it."""

    organisation = "OTHER"

    def __init__(self, *answers: Any, status: Json = OK) -> None:
        self.records: list[Json] = []
        self.calls: list[tuple[str, str, Json]] = []
        self.answers = iter(answers)
        self.status = status

    async def register(self, records: list[Json]) -> None:
        self.records += records

    async def call(self, verb: str, path: str, **parts: Any) -> Json:
        self.calls.append((verb, path, parts))
        return {"status": self.status, "data": next(self.answers, {})}


def play(api: Recorder, given: Json) -> Scene:
    scene = Scene(api)
    asyncio.run(scene.prepare({"records": [], "contacts": [], "calls": [], **given}))
    return scene


def test_base_records_belong_to_the_fixtures_organisation() -> None:
    api = Recorder()
    play(api, {})
    assert len(api.records) == len(base_records())
    first, *others = api.records
    assert (first["kind"], first["id"], first["name"]) == ("organisation", "OTHER", "OTHER")
    assert {record["organisation"] for record in others} == {"OTHER"}


def test_records_naming_a_contact_wait_for_it_and_keep_order() -> None:
    api = Recorder({"id": "AB"})
    records = [
        {"kind": "subscription_type", "id": "T"},
        {"kind": "accounts_receivable", "id": "A", "account_owner_id": "@who.id"},
        {"kind": "subscription", "id": "S", "accounts_receivable_id": "A"},
    ]
    play(api, {"records": records, "contacts": [{"alias": "who", "body": {"type": "PERSON"}}]})
    late = api.records[-2:]
    assert [record["id"] for record in late] == ["A", "S"]
    assert late[0]["account_owner_id"] == "AB"
    assert api.calls == [("POST", "contact_information/create", {"body": {"type": "PERSON"}})]


def test_changes_of_records_come_after_the_calls() -> None:
    api = Recorder({"id": "AB"}, {"id": "CD"})
    given = {
        "contacts": [{"alias": "who", "body": {}}],
        "calls": [{"verb": "POST", "path": "p", "alias": "it", "body": {}}],
        "changes": [{"kind": "accounts_receivable", "id": "A", "name": "@it.id"}],
    }
    play(api, given)
    assert api.records[-1]["name"] == "CD"


def test_mentions_are_resolved_everywhere() -> None:
    api = Recorder({"id": "AB", "set": [{"number": 7}]})
    scene = play(api, {"contacts": [{"alias": "who", "body": {}}]})
    assert scene.resolve({"a": ["@who.id"], "b": "number=@who.set.0.number"}) == {
        "a": ["AB"],
        "b": "number=7",
    }
    assert scene.resolve("@who.set.0.number") == 7
    assert scene.resolve('{"id":"@who.id"}') == '{"id":"AB"}'
    assert scene.resolve("someone@who.id") == "someone@who.id"
    with pytest.raises(KeyError):
        scene.resolve("@nobody.id")


def test_a_given_call_that_fails_stops_the_case() -> None:
    api = Recorder(status={"code": "NO", "message": "m", "description": ""})
    with pytest.raises(AssertionError, match="contact_information/create"):
        play(api, {"contacts": [{"alias": "who", "body": {}}]})


def test_uploads_are_decoded() -> None:
    api = Recorder()
    file = {"name": "a.jpg", "content_type": "false", "base64": "AAE="}
    asyncio.run(Scene(api).perform({"verb": "POST", "path": "p", "form": {"x": "1"}, "file": file}))
    assert api.calls == [("POST", "p", {"form": {"x": "1"}, "file": ("a.jpg", b"\0\1", "false")})]


@pytest.mark.parametrize(
    ("call", "fields"),
    [
        ({"body": {}}, None),
        ({"query": {"fields_set": "id, number"}}, {"id", "number"}),
        ({"raw_body": '{"a":1, "fields_set" : "id,number",}'}, {"id", "number"}),
        ({"raw_body": "{}"}, None),
    ],
)
def test_requested_fields(call: Json, fields: set[str] | None) -> None:
    assert requested_fields(call) == fields


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_every_case_can_be_played(case: Case) -> None:
    steps = [*case.given["contacts"], *case.given["calls"]]
    api = Recorder(*(invented(step.get("alias"), case) for step in steps))
    scene = play(api, case.given)
    asyncio.run(scene.perform(case.call))
    assert len(api.calls) == len(steps) + 1
    assert not any(mentions([api.records, scene.resolve(case.response)]))
    assert not any(mentions([list(parts.values()) for _, _, parts in api.calls]))


def invented(alias: str | None, case: Case) -> Any:
    """Data in which every mention of the alias in the case leads to a value."""
    data: dict[str, Any] = {}
    for steps in paths(alias, case):
        place = data
        for step in steps[:-1]:
            place = place.setdefault(step, {})
        place[steps[-1]] = "1"
    return data


def paths(alias: str | None, case: Case) -> Iterator[list[str]]:
    for found in mentions(case.content):
        if found["alias"] == alias:
            yield found["path"][1:].split(".")
