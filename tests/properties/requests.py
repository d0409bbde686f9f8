"""Requests as strategies: made from a method's table, mostly valid, then spoiled."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from hypothesis import strategies as st

from domain.composite_fields import Reference
from domain.errors import Refusal
from domain.fields import JsonObject, Level
from services.pipeline.method import Method
from services.pipeline.request import File
from tests.fixtures.strategies import READING, field_values, junk
from tests.properties.conftest import KNOWN

__all__ = ["Sent", "bodies", "forms", "queries", "said_calls", "texts"]

JUNK = junk()
KEYS = st.one_of(st.just(""), st.just(""), st.just(""), st.uuids().map(str))
OPTIONAL = 5
SPOILED = ["replace", "replace", "replace", "null", "wrap", "list", "twice", "drop"]
QUERY = 8000
"""Most characters of a query: request lines end at 16 KiB."""


@dataclass
class Sent:
    """A request without its address."""

    query: str = ""
    body: bytes | None = None
    key: str = ""
    form: list[tuple[str, str]] = field(default_factory=list)


@st.composite
def said_calls(
    draw: st.DrawFn, method: Method, always: Collection[str] = frozenset()
) -> JsonObject:
    """Parameters that the method accepts, as far as its table can say so, ``always`` some of them."""
    table = method.parameters
    chosen = {row.parameter for row, _ in table}
    if len(chosen) > OPTIONAL:
        chosen = set(draw(st.lists(st.sampled_from(sorted(chosen)), max_size=OPTIONAL)))
    groups = [sorted(group) for group in (table.exactly_one, table.at_least_one) if group]
    named = {draw(st.sampled_from(group)) for group in groups}
    raw: JsonObject = {}
    given: JsonObject = {}
    for row, rule in table:
        level = rule(given) if callable(rule) else rule
        if isinstance(row, File) or level is Level.NOT_APPLICABLE:
            continue
        excluded = row.name in table.exactly_one and row.name not in named
        wanted = row.name in named or (row.parameter in {*chosen, *always} and not excluded)
        if level is Level.MANDATORY or wanted:
            raw[row.parameter] = draw(field_values(row, KNOWN))
            try:
                given[row.name] = row.read(raw[row.parameter], row.parameter, READING)
            except Refusal:
                given[row.name] = None
    if draw(st.integers(0, 4)) == 0:
        names = [row.key for row in method.response.fields] if method.response else ["id"]
        raw["fields_set"] = ",".join(draw(st.lists(st.sampled_from(names), max_size=3)))
    if draw(st.integers(0, 9)) == 0:
        raw[draw(st.sampled_from(["unknown", "type ", "", "id"]))] = draw(JUNK)
    return raw


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all values inside ``value``."""
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in members:
        yield (*at, key)
        if isinstance(member, dict | list):
            yield from places(member, (*at, key))


def spoiled(draw: st.DrawFn, raw: JsonObject) -> JsonObject:
    """The parameters with up to three values replaced, wrapped or dropped; ``token`` stays."""
    raw = json.loads(json.dumps(raw))
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 1, 2, 3]))):
        found = [place for place in places(raw) if place != ("token",)]
        if not found:
            break
        *above, key = draw(st.sampled_from(found))
        inside: Any = raw
        for step in above:
            inside = inside[step]
        match draw(st.sampled_from(SPOILED)):
            case "replace":
                inside[key] = draw(JUNK)
            case "null":
                inside[key] = None
            case "wrap":
                inside[key] = {"id": inside[key]}
            case "list":
                inside[key] = [inside[key]]
            case "twice":
                inside[key] = [inside[key], inside[key]]
            case _:
                del inside[key]
    return raw


@st.composite
def bodies(draw: st.DrawFn, method: Method, token: str) -> Sent:
    """A JSON body; sometimes its text is spoiled, too."""
    raw = spoiled(draw, draw(said_calls(method)))
    raw = {"token": token} | raw if method.needs_session else raw
    text = json.dumps(raw, ensure_ascii=draw(st.booleans()))
    match draw(st.sampled_from([*[""] * 30, "comma", "twice", "deep", "cut", "bom", "empty"])):
        case "comma":
            text = f"{text[:-1]},}}"
        case "twice":
            text = f"{text[:-1]},{text[1:]}" if raw else text
        case "deep":
            levels = draw(st.sampled_from([5, 28, 33, 4000]))
            text = f'{text[:-1]}{"," if raw else ""}"deep":{"[" * levels}{"]" * levels}}}'
        case "cut":
            text = text[: draw(st.integers(0, len(text)))]
        case "bom":
            text = f"\ufeff{text}"
        case "empty":
            text = ""
    return Sent(body=text.encode("utf-8", "surrogatepass"), key=draw(KEYS))


def texts(draw: st.DrawFn, method: Method, raw: JsonObject) -> list[tuple[str, str]]:
    """Parameters as a query or a form holds them."""
    references = {row.parameter for row, _ in method.parameters if isinstance(row, Reference)}
    pairs = []
    for name, value in raw.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if name in references and isinstance(value, dict) and len(value) == 1:
            text = draw(st.sampled_from([text, "=".join(map(str, *value.items()))]))
        pairs += [(name, text)] * draw(st.sampled_from([1] * 15 + [2]))
    return pairs


@st.composite
def queries(draw: st.DrawFn, method: Method, token: str) -> Sent:
    """A query string; escapes that are not UTF-8 and broken ones included."""
    pairs = texts(draw, method, spoiled(draw, draw(said_calls(method))))
    written = [f"{quoted(name)}={quoted(value)}" for name, value in [("token", token), *pairs]]
    extra = draw(
        st.sampled_from([*[""] * 40, "%", "%zz=1", "%ff=%fe", "&&&", "a=%00", "=", "%C0%80"])
    )
    return Sent(query="&".join(filter(None, [*written, extra]))[:QUERY])


def quoted(text: str) -> str:
    return quote_plus(text.encode("utf-8", "surrogatepass"))


@st.composite
def forms(draw: st.DrawFn, method: Method, token: str) -> Sent:
    """The scalar parameters of a form."""
    pairs = texts(draw, method, spoiled(draw, draw(said_calls(method))))
    clean = [(n, v.encode("utf-8", "replace").decode()) for n, v in pairs]
    return Sent(form=[("token", token), *((n.replace("\0", ""), v) for n, v in clean)])
