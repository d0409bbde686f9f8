"""Unrestricted parameters: contract communications.md, section 7."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.organisation import query_rows, unknown_id, untouched
from tests.fixtures.service import Service

Json = dict[str, Any]
SET = "unrestricted_parameter_set"
NAMED = "unrestricted_parameter_identifier"
VALUES: dict[str, tuple[str, Any, Any]] = {
    "STRING": ("string_value", "text", "text"),
    "FLOAT": ("float_value", "10.50", 10.5),
    "INTEGER": ("integer_value", "12", 12),
    "DATE": ("date_value", "2014-05-05T15:49:59", "Mon May 05 15:49:59 EEST 2014"),
}
MEMBERS = [member for member, _, _ in VALUES.values()]


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> CommunicationsClient:
    return await communications_client(service)


def item(name: str = "n", kind: str = "STRING", **more: Any) -> Json:
    """A parameter that is accepted when it is added."""
    member, value, _ = VALUES[kind]
    whole = {"type": kind, "name": name, member: value} | more
    return {k: v for k, v in whole.items() if v is not ...}


def adding(*args: Any, **more: Any) -> Json:
    return item(*args, **more) | {"action": "ADD"}


async def with_(client: CommunicationsClient, *items: Json) -> Json:
    """A draft with these parameters."""
    return await client.create_draft(**{SET: list(items)})


async def change(client: CommunicationsClient, draft: Json, *items: Json) -> list[Json]:
    """The parameters after an update, by one call and as shown afterwards."""
    changed = await client.call("update", draft, **{SET: list(items)})
    assert await client.show(draft) == changed
    return list(changed[SET])


async def no_change(client: CommunicationsClient, draft: Json, *items: Json) -> tuple[str, str]:
    async with untouched(client.api):
        return await client.call_refused("update", draft, **{SET: list(items)})


@pytest.mark.parametrize("kind", VALUES)
async def test_each_type(client: CommunicationsClient, kind: str) -> None:
    member, _, shown = VALUES[kind]
    draft = await with_(client, item("a_1", kind))
    [one] = draft[SET]
    assert set(one) == {"id", "key", "name", "type", *MEMBERS}
    assert (one["key"], one["name"], one["type"]) == (
        f"unrestricted_{kind.lower()}.a_1",
        "a_1",
        kind,
    )
    assert {name: one[name] for name in MEMBERS} == dict.fromkeys(MEMBERS) | {member: shown}


ACCEPTED: dict[str, tuple[Json, Json]] = {
    "type in lower case": (item(type="string"), {"type": "STRING"}),
    "action given": (adding(), {"name": "n"}),
    "action in lower case": (item(action=" add "), {"name": "n"}),
    "action null": (item(action=None), {"name": "n"}),
    "shortest name": (item("_"), {"name": "_"}),
    "longest name": (item("x" * 255), {"name": "x" * 255}),
    "blanks around the longest name": (item(f" {'x' * 255}\n"), {"name": "x" * 255}),
    "a name of words": (item("due date"), {"key": "unrestricted_string.due date"}),
    "a name with a hyphen": (item("due-date"), {"key": "unrestricted_string.due-date"}),
    "a Greek name": (item("λήξη"), {"key": "unrestricted_string.λήξη"}),
    "a name like a tag": (item("#a.b"), {"name": "#a.b"}),
    "digits": (item("007"), {"key": "unrestricted_string.007"}),
    "a number as name": (item(name=7), {"name": "7"}),
    "other values null": (item(float_value=None, date_value=None), {"string_value": "text"}),
    "identifier is ignored": (item(**{NAMED: {"nothing": 1}}), {"name": "n"}),
    "unknown members": (item(colour="red"), {"name": "n"}),
    "longest value": (item(string_value="x" * 10**6), {"string_value": "x" * 10**6}),
    "an empty value": (item(string_value=""), {"string_value": ""}),
    "a blank value": (item(string_value="  "), {"string_value": "  "}),
    "an empty text beside a number": (
        item(kind="INTEGER", string_value=""),
        {"integer_value": 12, "string_value": None},
    ),
    "number as text": (item(string_value=10.0), {"string_value": "10"}),
    "whole float": (item(kind="FLOAT", float_value=10.0), {"float_value": 10}),
    "zero": (item(kind="INTEGER", integer_value=0), {"integer_value": 0}),
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_accepted(client: CommunicationsClient, case: str) -> None:
    given, expected = ACCEPTED[case]
    [one] = (await with_(client, given))[SET]
    assert {name: one[name] for name in expected} == expected


AT = f"{SET}[0]"
ADD_REFUSED: list[tuple[Any, str, str]] = [
    ("x", "INVALIDPARAMETERTYPE", AT),
    (None, "INVALIDPARAMETERTYPE", AT),
    *((item(type=v), "MANDATORYPARAMETER", f"{AT}.type") for v in (..., None, "", " ")),
    (item(type="TEXT"), "INVALIDPARAMETERVALUE", f"{AT}.type"),
    (item(type=1), "INVALIDPARAMETERTYPE", f"{AT}.type"),
    *((item(name=v), "MANDATORYPARAMETER", f"{AT}.name") for v in (..., None, "", " ")),
    *(
        (item(name=v), "INVALIDPARAMETERVALUE", f"{AT}.name")
        for v in ("a\nb", "a\tb", "\x7f", "a\x85b", "x" * 256)
    ),
    (item(name=[]), "INVALIDPARAMETERTYPE", f"{AT}.name"),
    *(
        (item(kind=kind, **{member: v}), "MANDATORYPARAMETER", f"{AT}.{member}")
        for kind, (member, _, _) in VALUES.items()
        for v in (..., None)
    ),
    *(
        (
            item(kind=kind, **{VALUES[other][0]: VALUES[other][1]}),
            "INVALIDPARAMETERVALUE",
            f"{AT}.{VALUES[other][0]}",
        )
        for kind in VALUES
        for other in VALUES
        if kind != other
    ),
    (item(kind="FLOAT", float_value="x"), "INVALIDPARAMETERTYPE", f"{AT}.float_value"),
    (item(kind="INTEGER", integer_value=1.5), "INVALIDPARAMETERTYPE", f"{AT}.integer_value"),
    (item(kind="DATE", date_value="x"), "INVALIDPARAMETERTYPE", f"{AT}.date_value"),
    (item(kind="DATE", date_value="2014-02-30"), "INVALIDPARAMETERVALUE", f"{AT}.date_value"),
    (item(string_value={}), "INVALIDPARAMETERTYPE", f"{AT}.string_value"),
    (item(string_value="x" * (10**6 + 1)), "INVALIDPARAMETERVALUE", f"{AT}.string_value"),
]


@pytest.mark.parametrize("case", ADD_REFUSED, ids=lambda c: f"{c[1]}-{str(c[0])[:50]}")
async def test_adding_refused(client: CommunicationsClient, case: tuple[Any, str, str]) -> None:
    given, name, description = case
    assert await client.create_refused(**{SET: [given]}) == (name, description)
    if isinstance(given, dict):
        draft = await client.create_draft()
        assert await no_change(client, draft, given | {"action": "ADD"}) == (name, description)


@pytest.mark.parametrize("action", ["UPDATE", "REMOVE", "CHANGE"])
async def test_on_create_only_adding(client: CommunicationsClient, action: str) -> None:
    refused = await client.create_refused(**{SET: [item(action=action)]})
    assert refused == ("INVALIDPARAMETERVALUE", f"{AT}.action")


@pytest.mark.parametrize(
    ("action", "name"),
    [
        (..., "MANDATORYPARAMETER"),
        (None, "MANDATORYPARAMETER"),
        ("", "MANDATORYPARAMETER"),
        ("CHANGE", "INVALIDPARAMETERVALUE"),
        (1, "INVALIDPARAMETERTYPE"),
    ],
)
async def test_an_update_needs_an_action(
    client: CommunicationsClient, action: Any, name: str
) -> None:
    draft = await client.create_draft()
    assert await no_change(client, draft, item(action=action)) == (name, f"{AT}.action")


async def test_order_of_creation(client: CommunicationsClient) -> None:
    draft = await with_(client, item("c"), item("a"), item("b", "INTEGER"))
    added = await change(client, draft, adding("A"))
    assert [one["name"] for one in added] == ["c", "a", "b", "A"]
    assert len({one["id"] for one in added}) == 4


async def test_keys_are_unique(client: CommunicationsClient) -> None:
    twice = ("DUPLICATEENTITY", f"{SET}[1].name")
    assert await client.create_refused(**{SET: [item("n"), item("n")]}) == twice
    draft = await with_(client, item("n"), item("n", "INTEGER"), item("N"))
    assert await no_change(client, draft, adding("n")) == ("DUPLICATEENTITY", f"{AT}.name")
    renamed = {"action": "UPDATE", NAMED: {"key": "unrestricted_string.N"}, "name": "n"}
    assert await no_change(client, draft, renamed) == ("DUPLICATEENTITY", f"{AT}.name")
    turned = {"action": "UPDATE", NAMED: {"key": "unrestricted_integer.n"}}
    turned |= {"type": "STRING", "string_value": "x"}
    assert await no_change(client, draft, turned) == ("DUPLICATEENTITY", f"{AT}.name")


IDENTIFIERS = [
    {"name": "n"},
    {"name": " n "},
    {"key": "unrestricted_string.n"},
    {"key": "  unrestricted_string.n "},
    {"key": "#unrestricted_string.n"},
    {"key": " #unrestricted_string.n"},
]


@pytest.mark.parametrize("named", IDENTIFIERS, ids=str)
async def test_how_a_parameter_is_named(client: CommunicationsClient, named: Json) -> None:
    draft = await with_(client, item("n"), item("o"))
    [first, second] = await change(
        client, draft, {"action": "update", NAMED: named, "string_value": "new"}
    )
    assert (first["string_value"], second["string_value"]) == ("new", "text")
    for by_id in (first["id"], first["id"].lower()):
        left = await change(client, draft, {"action": "UPDATE", NAMED: {"id": by_id}, "name": "m"})
        assert [one["name"] for one in left] == ["m", "o"]
    assert await change(client, draft, {"action": "REMOVE", NAMED: {"name": "m"}}) == [second]


@pytest.mark.parametrize("action", ["UPDATE", "REMOVE"])
@pytest.mark.parametrize(
    ("named", "name"),
    [
        (..., "MANDATORYPARAMETER"),
        (None, "MANDATORYPARAMETER"),
        ({}, "MANDATORYPARAMETER"),
        ([], "MANDATORYPARAMETER"),
        ({"id": " ", "key": None}, "MANDATORYPARAMETER"),
        ({"id": "1", "name": "n"}, "SEMIOPTIONALPARAMETER"),
        ({"code": "n"}, "INVALIDIDENTIFIER"),
        ("n", "INVALIDIDENTIFIER"),
        ({"name": "nothing"}, "ENTITYNOTFOUND"),
        ({"name": "N"}, "ENTITYNOTFOUND"),
        ({"id": unknown_id()}, "ENTITYNOTFOUND"),
        ({"key": "unrestricted_date.n"}, "ENTITYNOTFOUND"),
        ({"name": "n"}, "ENTITYNOTUNIQUE"),
    ],
)
async def test_naming_refused(
    client: CommunicationsClient, action: str, named: Any, name: str
) -> None:
    draft = await with_(client, item("n"), item("n", "FLOAT"))
    given = {"action": action, NAMED: named, "name": "m"}
    given = {k: v for k, v in given.items() if v is not ...}
    assert await no_change(client, draft, given) == (name, f"{AT}.{NAMED}")


CHANGES: dict[str, tuple[Json, Json]] = {
    "nothing": ({}, {}),
    "the same type": ({"type": "STRING"}, {}),
    "value": ({"string_value": "new"}, {"string_value": "new"}),
    "name": ({"name": "m"}, {"name": "m", "key": "unrestricted_string.m"}),
    "its own name": ({"name": "n"}, {}),
    "an empty value": ({"string_value": ""}, {"string_value": ""}),
    "other values null": ({"float_value": None}, {}),
    "type": (
        {"type": "integer", "integer_value": "5"},
        {"type": "INTEGER", "key": "unrestricted_integer.n"}
        | {"string_value": None, "integer_value": 5},
    ),
    "type and name": (
        {"type": "DATE", "name": "d", "date_value": "2014-05-05"},
        {
            "type": "DATE",
            "name": "d",
            "key": "unrestricted_date.d",
            "string_value": None,
            "date_value": "Mon May 05 00:00:00 EEST 2014",
        },
    ),
}


@pytest.mark.parametrize("case", CHANGES)
async def test_changes(client: CommunicationsClient, case: str) -> None:
    given, expected = CHANGES[case]
    draft = await with_(client, item("n"))
    [before] = draft[SET]
    changed = await change(client, draft, {"action": "UPDATE", NAMED: {"name": "n"}, **given})
    assert changed == [before | expected]


CHANGE_REFUSED: list[tuple[Json, str, str]] = [
    ({"name": None}, "MANDATORYPARAMETER", "name"),
    ({"name": " "}, "MANDATORYPARAMETER", "name"),
    ({"name": "a\0b"}, "INVALIDPARAMETERVALUE", "name"),
    ({"type": None}, "MANDATORYPARAMETER", "type"),
    ({"type": "TEXT"}, "INVALIDPARAMETERVALUE", "type"),
    ({"string_value": None}, "MANDATORYPARAMETER", "string_value"),
    ({"float_value": 1}, "INVALIDPARAMETERVALUE", "float_value"),
    ({"type": "FLOAT"}, "MANDATORYPARAMETER", "float_value"),
    ({"type": "FLOAT", "float_value": None}, "MANDATORYPARAMETER", "float_value"),
    ({"type": "FLOAT", "string_value": "x"}, "INVALIDPARAMETERVALUE", "string_value"),
]


@pytest.mark.parametrize("case", CHANGE_REFUSED, ids=lambda c: f"{c[1]}-{c[0]}")
async def test_changes_refused(client: CommunicationsClient, case: tuple[Json, str, str]) -> None:
    given, name, member = case
    draft = await with_(client, item("n"))
    update = {"action": "UPDATE", NAMED: {"name": "n"}, **given}
    assert await no_change(client, draft, update) == (name, f"{AT}.{member}")


async def test_items_apply_in_order_and_together(client: CommunicationsClient) -> None:
    draft = await with_(client, item("n"))
    named = {NAMED: {"name": "n"}}
    removed = {"action": "REMOVE", **named, "type": "nonsense", "name": [], "string_value": 1}
    left = await change(
        client, draft, removed, adding("n"), {"action": "UPDATE", **named, "name": "m"}, adding("n")
    )
    assert [one["name"] for one in left] == ["m", "n"]
    gone = [{"action": "REMOVE", **named}, {"action": "REMOVE", **named}]
    assert await no_change(client, draft, *gone) == ("ENTITYNOTFOUND", f"{SET}[1].{NAMED}")


@pytest.mark.parametrize("name", ["due date", "x" * 255, "λήξη", "a.b", "#a"])
async def test_any_name_names_a_parameter(client: CommunicationsClient, name: str) -> None:
    draft = await with_(client, item(name))
    for named in ({"name": name}, {"key": f"unrestricted_string.{name}"}):
        [one] = await change(
            client, draft, {"action": "UPDATE", NAMED: named, "string_value": name}
        )
        assert (one["name"], one["string_value"]) == (name, name)


async def test_only_plain_names_stand_in_tags(client: CommunicationsClient) -> None:
    given = [item("due", string_value="soon"), item("due date", string_value="never")]
    text = "#unrestricted_string.due date, #unrestricted_string.λήξη"
    said = await client.create(content=text, **{SET: [*given, item("λήξη", string_value="no")]})
    assert said["content"] == "soon date, #unrestricted_string.λήξη"


async def test_an_empty_placeholder_leaves_nothing(client: CommunicationsClient) -> None:
    text = "Dear customer#unrestricted_string.n."
    said = await client.create(content=text, **{SET: [item(string_value="")]})
    assert said["content"] == "Dear customer."


async def test_as_many_as_there_may_be(client: CommunicationsClient) -> None:
    draft = await with_(client, *(item(f"n{n}") for n in range(1000)))
    assert len(draft[SET]) == 1000
    assert await no_change(client, draft, adding("more")) == ("INVALIDPARAMETERVALUE", SET)
    # The room of one that is removed can be used in the same call.
    gone = {"action": "REMOVE", NAMED: {"name": "n7"}}
    assert len(await change(client, draft, adding("more"), gone)) == 1000
    assert await client.create_refused(**{SET: [item(f"n{n}") for n in range(1001)]}) == (
        "INVALIDPARAMETERVALUE",
        SET,
    )


async def test_an_update_adds_what_it_changes(client: CommunicationsClient) -> None:
    long = [item(f"n{n}", string_value="x" * 100) for n in range(1000)]
    draft = await with_(client, *long)
    named = {NAMED: {"name": "n5"}}
    for given in (
        {"action": "UPDATE", **named, "string_value": "y"},
        {"action": "UPDATE", **named, "name": "renamed"},
        {"action": "REMOVE", NAMED: {"name": "n6"}},
        adding("n6"),
    ):
        await change(client, draft, given)
    sizes = await query_rows(
        client.api,
        "SELECT length(payload::text) AS size FROM ledger.events"
        " WHERE organisation = $1 AND stream_id = $2::text::uuid ORDER BY version",
        draft["id"],
    )
    assert [row["size"] < 1000 for row in sizes] == [False, *[True] * 4]
    # A draft as it was is what its events say, one by one.
    assert [one["name"] for one in (await client.show(draft))[SET]][4:7] == ["n4", "renamed", "n7"]
