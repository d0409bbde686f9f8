"""Hypothesis strategies made from the field tables, so that a new field is covered without edits.

`said` draws what a caller may say for a field, `kept` what an aggregate then keeps of it, `junk`
anything at all that JSON can hold. A field whose values cannot be guessed from its kind (a `Text`
with a ``clean`` that takes none of `CANDIDATES`) fails loudly and asks for a candidate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from functools import lru_cache, singledispatch
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from domain.composite_fields import ItemSet, Object, PartialDate, Reference
from domain.contact_fields import SETS
from domain.errors import Refusal
from domain.fields import Field, JsonObject, Level, ReadContext
from domain.identifiers import Identifier, IdentifierFields
from domain.reference.fields import EnumerationSet
from domain.reference.records import RecordLink
from domain.scalar_fields import (
    Boolean,
    Date,
    Enumeration,
    Integer,
    NonNegativeInteger,
    Number,
    Text,
)
from domain.token_credentials import Credential, CredentialReference, TokenNameField, TokenReference

__all__ = [
    "IDS",
    "READING",
    "TEXTS",
    "ZONE",
    "entries",
    "identifiers",
    "junk",
    "kept",
    "kept_rows",
    "said",
    "said_rows",
]

ZONE = ZoneInfo("Asia/Nicosia")
READING = ReadContext(ZONE, date(2024, 2, 29))
Known = Mapping[str, list[JsonObject]]
"""Identifiers that mean something, by entity."""

IDS = st.uuids().map(lambda id_: id_.hex.upper())
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_AWKWARD = st.sampled_from(
    [
        '{"$ref":"contact_information/1"}',
        '{"$name":["a","b"]}',
        '"\\',
        "\\u0000",
        "#contact_information.name",
        "\x01\x1e\x1f\x7f",
        "\u2028\u2029\ufeff",
        "Ἀρχιμήδης \U0001f9d1\u200d\U0001f680",
        "ﬃß İ\u0130",
        "%00",
        "' OR 1=1 --",
        "$1",
        "e\u0301" * 40,
    ]
)
TEXTS = st.one_of(st.text(_CHARACTERS, max_size=40), _AWKWARD)
"""Texts that every String takes."""

CANDIDATES: Mapping[str, st.SearchStrategy[str]] = {
    "22114455": st.from_regex(r"[0-9]{3,20}", fullmatch=True),
    "a@b.c": st.builds("{}@{}".format, *[st.from_regex(r"[^@\0\s]{1,20}", fullmatch=True)] * 2),
    "0123456789ABCDEF" * 2: IDS,
    "https://a.example/b": st.sampled_from(["http://a.example", "https://a.example:8443/b?c=d"]),
    "name_1": st.from_regex(r"[A-Za-z0-9_]{1,20}", fullmatch=True),
}
"""A sample of each kind of cleaned text, and the strategy it stands for."""


def junk(*, depth: int = 3) -> st.SearchStrategy[Any]:
    """Any JSON value, lone surrogates and numbers that no type holds included."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.sampled_from([0, -1, 1001, 2**31, 2**53, 2**63, 2**64, -(2**63) - 1, 10**300]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=12),
        st.text(_CHARACTERS, min_size=200, max_size=300),
        _AWKWARD,
        st.sampled_from(["", " ", "\0", "\ud800", "9" * 80, "1e999", "2024-02-30", "null", "[]"]),
    )
    return st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
        ),
        max_leaves=4 * depth,
    )


@singledispatch
def said(field: Field, known: Known) -> st.SearchStrategy[Any]:
    """What a caller may say for ``field``, other than null; raises for a kind it does not know."""
    raise LookupError(f"no strategy for {type(field).__name__} ({field.name})")


@said.register
def _text(field: Text, known: Known) -> st.SearchStrategy[Any]:
    if field.clean is None:
        texts = TEXTS.filter(lambda text: len(text) <= field.max_length and text.strip() != "")
        longest = st.just("x" * field.max_length)
        return st.one_of(texts, texts, texts, st.integers(0, 10**6), longest)
    cleaned = [s for sample, s in CANDIDATES.items() if field.clean(sample) is not None]
    if not cleaned:
        raise LookupError(f"no candidate text for {field.name}")
    clean = field.clean

    def accepted(text: Any) -> bool:
        return clean(text) is not None

    return st.one_of(*cleaned).filter(accepted)


@said.register
def _integer(field: Integer, known: Known) -> st.SearchStrategy[Any]:
    numbers = st.integers(field.least, field.most)
    return st.one_of(numbers, numbers.map(str), st.just(field.most), st.just(field.least))


@said.register
def _number(field: Number, known: Known) -> st.SearchStrategy[Any]:
    numbers = st.one_of(
        st.integers(-(2**53) + 1, 2**53 - 1), st.floats(allow_nan=False, allow_infinity=False)
    )
    return st.one_of(numbers, st.decimals(-9999, 9999, places=2).map(str))


@said.register
def _boolean(field: Boolean, known: Known) -> st.SearchStrategy[Any]:
    return st.sampled_from([True, False, 1, 0, "1", "0", "true", "False"])


@said.register
def _date(field: Date, known: Known) -> st.SearchStrategy[Any]:
    moments = st.datetimes().map(lambda moment: moment.replace(microsecond=0).isoformat())
    return st.one_of(moments, moments.map(lambda text: text.replace("T", " ")), st.dates().map(str))


@said.register
def _enumeration(field: Enumeration, known: Known) -> st.SearchStrategy[Any]:
    words = st.sampled_from(field.allowed.split())
    return st.one_of(words, words.map(lambda word: f" {word.lower().replace('_', '-')} "))


@said.register
def _words(field: EnumerationSet, known: Known) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(field.listed), max_size=3)


@said.register
def _link(field: RecordLink, known: Known) -> st.SearchStrategy[Any]:
    return st.lists(IDS, max_size=3) if field.many else IDS


@said.register
def _calendar(field: PartialDate, known: Known) -> st.SearchStrategy[Any]:
    days = st.dates(max_value=READING.today if "year" in field.parts else date.max)
    return days.map(lambda day: {part: getattr(day, part) for part in field.parts})


@said.register
def _reference(field: Reference, known: Known) -> st.SearchStrategy[Any]:
    return identifiers(field.target, known)


@said.register
def _credential(field: CredentialReference, known: Known) -> st.SearchStrategy[Any]:
    named = known.get(field.name)
    return st.sampled_from(named) if named else _shown()


@said.register
def _token_reference(field: TokenReference, known: Known) -> st.SearchStrategy[Any]:
    plain = identifiers(field.target, known)
    return plain if known else plain | st.fixed_dictionaries({"access_token_identifier": _shown()})


@said.register
def _token_key(field: TokenNameField, known: Known) -> st.SearchStrategy[Any]:
    return IDS


def _shown() -> st.SearchStrategy[JsonObject]:
    """Credentials of an access token that may not exist."""
    by_code = st.fixed_dictionaries({"authentication_code": IDS})
    return by_code | st.fixed_dictionaries({"identifier": IDS, "pass_code": IDS})


@said.register
def _whole(field: NonNegativeInteger, known: Known) -> st.SearchStrategy[Any]:
    numbers = st.integers(field.least, 10**6)
    return st.one_of(numbers, numbers.map(str), numbers.map(float))


@said.register
def _object(field: Object, known: Known) -> st.SearchStrategy[Any]:
    needed = [row for row in field.fields if field.levels.get(row.name) is Level.MANDATORY]
    kept = [row for row in field.fields if field.levels.get(row.name) is Level.KEPT]
    others = [row for row in field.fields if row.name not in field.levels]
    if field.at_most_one:
        return st.sampled_from(others).flatmap(lambda row: said_rows([row], known))
    if kept:
        return said_rows(others, known) | said_rows(others, known, needed=kept)
    return said_rows(others, known, needed=needed, most=5)


@said.register
def _items(field: ItemSet, known: Known) -> st.SearchStrategy[Any]:
    needed = [row for row in field.rows if row.name in field.required]
    others = [row for row in field.rows if row.name not in field.required]
    if field.check or field.exactly_one:
        whole = said_rows((), known, needed=field.rows)
        added = whole.map(lambda item: _agreeing(field, item))
    else:
        added = said_rows(others, known, needed=needed, most=3)
    if not field.updating:
        return st.lists(added, max_size=3)
    links = (st.fixed_dictionaries({r.parameter: said(r, known)}) for r in field.links)
    entry = {
        f"{field.item_identifier.entity}_identifier": st.one_of(
            identifiers(field.item_identifier, known), *links
        )
    }
    changed = st.tuples(said_rows(field.rows, known, most=3), st.fixed_dictionaries(entry))
    actions = {
        "ADD": added.map(lambda item: item | {"action": "ADD"}),
        "UPDATE": changed.map(lambda pair: pair[0] | pair[1] | {"action": "UPDATE"}),
        "REMOVE": st.fixed_dictionaries(entry | {"action": st.just("REMOVE")}),
    }
    return st.lists(st.one_of(*(actions[action] for action in field.actions)), max_size=3)


def _agreeing(field: ItemSet, whole: JsonObject) -> JsonObject:
    """What an item must have and the first other member that its ``check`` lets stand beside it."""
    parameters = [row.parameter for row in field.rows if row.name in field.required]
    needed = {name: whole[name] for name in parameters}
    for row in field.rows:
        item = needed | {row.parameter: whole[row.parameter]}
        with suppress(Refusal):
            replace(field, updating=False).read([item], field.name, READING)
            return item
    return needed


def identifiers(to: IdentifierFields, known: Known) -> st.SearchStrategy[JsonObject]:
    """Identifiers of an entity: known ones, else ones that may mean nothing."""
    words = to.enumerated or {}
    guessed = st.one_of(
        *(
            st.fixed_dictionaries(
                {name: st.sampled_from(sorted(words[name])) if name in words else IDS}
            )
            for name in to.fields
        )
    )
    sure = known.get(to.entity)
    if not sure:
        return guessed
    return st.integers(0, 9).flatmap(lambda n: guessed if n == 9 else st.sampled_from(sure))


def said_rows(
    rows: Iterable[Field], known: Known, *, needed: Iterable[Field] = (), most: int = 6
) -> st.SearchStrategy[JsonObject]:
    """An object with all ``needed`` rows and at most so many of the others.

    Where something is known, links to what is not are left to `junk`.
    """
    optional = {
        row.parameter: row
        for row in rows
        if not (known and isinstance(row, Reference) and row.target.entity not in known)
    }
    always = st.fixed_dictionaries({row.parameter: said(row, known) for row in needed})
    if not optional:
        return always
    some = st.lists(st.sampled_from(list(optional)), unique=True, max_size=most)
    return st.tuples(
        always,
        some.flatmap(
            lambda names: st.fixed_dictionaries(
                {name: st.one_of(st.none(), said(optional[name], known)) for name in names}
            )
        ),
    ).map(lambda parts: parts[1] | parts[0])


def kept(field: Field) -> st.SearchStrategy[Any]:
    """What an aggregate keeps for ``field``: what its own `read` makes of `said`."""
    return said(field, {}).map(lambda raw: field.read(raw, field.name, READING)).map(_resolved)


def _resolved(value: Any) -> Any:
    """As kept: identifiers give way to ids, of which any will do here."""
    if isinstance(value, Credential):
        return f"{sum(repr(value).encode()):032X}"
    if isinstance(value, Identifier):
        return value.value if value.field == "id" else f"{sum(value.value.encode()):032X}"
    if isinstance(value, dict):
        return {name: _resolved(member) for name, member in value.items()}
    return value


def kept_rows(
    rows: Iterable[Field], *, most: int = 5, unset: bool = True
) -> st.SearchStrategy[JsonObject]:
    """Kept values by field name; with None among them where values may be ``unset``."""
    by_name = {row.name: row for row in rows}
    nothing = [st.none()] if unset else []
    return st.lists(st.sampled_from(list(by_name)), unique=True, max_size=most).flatmap(
        lambda names: st.fixed_dictionaries(
            {name: st.one_of(*nothing, kept(by_name[name])) for name in names}
        )
    )


@lru_cache
def entries(set_name: str) -> st.SearchStrategy[JsonObject]:
    """Complete entries of a contact's set, without their id."""
    items = SETS[set_name]
    rows: dict[str, Field] = {row.name: row for row in items.response_fields if row.name != "id"}
    derived = rows.keys() - {row.name for row in items.rows} - {"state"}
    needed = {name: kept(rows[name]) for name in sorted(items.required | derived)}
    if "state" in rows:
        needed["state"] = st.just("Active")
    others = [row for name, row in rows.items() if name not in needed]
    return st.tuples(kept_rows(others, most=3, unset=False), st.fixed_dictionaries(needed)).map(
        lambda parts: parts[0] | parts[1]
    )
