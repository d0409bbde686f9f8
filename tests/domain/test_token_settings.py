"""The settings of access tokens: contract access_tokens.md, sections 3 and 4."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.access_token_policy import TokenSettings, count_characters
from domain.reference.fields import TOKEN_DEFINITION
from services.access_tokens.codes import authentication_code, digits, random_text
from services.access_tokens.payload import IDENTIFIER_CHARACTERS, random_pass_code
from services.access_tokens.payload import _identifier as new_identifier

SORTS = ("length", "letters", "digits", "special")


def settings(**said: Any) -> TokenSettings:
    return TokenSettings(TOKEN_DEFINITION | said)


@pytest.mark.parametrize(
    ("format_", "good", "bad"),
    [
        ("EMAIL", ["a@b", " joanna@crm.com "], ["a", "@b", "a@", "a@b@c", "@"]),
        ("NUMBER", ["0", "0123456789"], ["1a", "-1", "1.5", "1 2", "٣"]),
        (
            "PHONE",
            ["22114455", "+357 22 114455", "22-114.455/6"],
            ["+", "abc", "22x", "+-1"],
        ),
        ("FREE_TEXT", ["x", "Joanna!", "ключ", "7"], ["", " "]),
    ],
)
def test_formats(format_: str, good: list[str], bad: list[str]) -> None:
    asked = settings(identifier_format=format_)
    assert [text for text in good if not asked.allows("identifier", text)] == []
    assert [text for text in bad if asked.allows("identifier", text)] == []


def test_no_format_where_identifiers_are_made_up() -> None:
    for creation in ("UNIQUE_NUMBER", "UNIQUE_ID"):
        asked = settings(identifier_creation=creation, identifier_format="EMAIL")
        assert asked.allows("identifier", "no e-mail")


def test_pass_codes_have_no_format() -> None:
    assert settings(identifier_format="EMAIL").allows("pass_code", "x")


@pytest.mark.parametrize("name", ["identifier", "pass_code"])
@pytest.mark.parametrize(
    ("sort", "enough", "short"),
    [
        ("length", "abcd", "abc"),
        ("letters", "éñ7ab!", "é7ñ!a"),
        ("digits", "a1b2c3d4", "a1b2c3d"),
        ("special", "a!b?-#", "a!b?-"),
    ],
)
def test_minimums(name: str, sort: str, enough: str, short: str) -> None:
    asked = settings(**{f"{name}_min_{sort}": 4})
    assert asked.allows(name, enough)
    assert not asked.allows(name, short)


def test_a_blank_is_of_no_sort() -> None:
    counted = count_characters(" a1! ")
    assert counted == {"length": 5, "letters": 1, "digits": 1, "special": 1}


def test_a_classification_s_settings_count_alone() -> None:
    definition = {"access_token_definition": TOKEN_DEFINITION | {"allow_no_identifier": True}}
    assert not TokenSettings.for_token(None, definition).needs_identifier
    assert TokenSettings.for_token(TOKEN_DEFINITION, definition).needs_identifier
    assert not TokenSettings.for_token(
        TOKEN_DEFINITION | {"identifier_creation": "UNIQUE_ID"}, definition
    ).needs_identifier


LEAST = st.fixed_dictionaries({sort: st.integers(0, 40) for sort in SORTS})


def said(name: str, least: dict[str, int]) -> dict[str, int]:
    return {f"{name}_min_{sort}": n for sort, n in least.items()}


@given(least=LEAST)
def test_random_pass_codes_satisfy_the_settings(least: dict[str, int]) -> None:
    asked = settings(**said("pass_code", least))
    code = random_pass_code(asked)
    assert asked.allows("pass_code", code)
    needed = sum(least[sort] for sort in SORTS[1:])
    assert len(code) == max(6, least["length"], needed)
    if not least["letters"] + least["special"]:
        assert code.isdigit()


@given(least=LEAST, creation=st.sampled_from(["UNIQUE_NUMBER", "UNIQUE_ID"]))
def test_made_up_identifiers_satisfy_the_settings(least: dict[str, int], creation: str) -> None:
    asked = settings(identifier_creation=creation, **said("identifier", least))
    identifier = new_identifier(asked)
    assert asked.allows("identifier", identifier)
    if not least["letters"] + least["special"]:
        assert set(identifier) <= set(IDENTIFIER_CHARACTERS[creation])


def test_made_up_codes_do_not_repeat() -> None:
    assert len({authentication_code() for _ in range(100)}) == 100
    assert len({digits(20) for _ in range(100)}) == 100
    assert {code[0] for code in (digits(6) for _ in range(500))} == set("0123456789")
    least = dict.fromkeys(SORTS, 0) | {"letters": 1}
    assert len({random_text(least, length=6).find("A") for _ in range(2000)}) > 3, "no fixed place"
