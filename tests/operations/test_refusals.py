"""What a process remembers of refusals: by organisation, for a day, and never too much."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from infra.diagnostics import refusals
from infra.diagnostics.refusals import Refusals
from services.pipeline.session_tokens import Tokens

TOKENS = Tokens("token-secret-of-the-tests-0123456789")


def token(organisation: str, tokens: Tokens = TOKENS) -> str:
    return tokens.issue("A" * 32, "demo", organisation, "1", datetime.now(UTC))


def test_each_organisation_s_own() -> None:
    kept = Refusals(TOKENS)
    kept.note(token("ACME"), "X")
    kept.note([token("OTHER"), token("ACME")], "Y")
    kept.note(token("ACME"), "Y")
    assert kept.recent("ACME") == [("Y", 2), ("X", 1)]
    assert kept.recent("OTHER") == []


@pytest.mark.parametrize(
    "shown",
    [None, "", [], {}, 7, "a.b.c", token("ACME", Tokens("another-secret-0123456789-0123456789"))],
)
def test_nobody_speaks_for_an_organisation_without_its_token(shown: object) -> None:
    kept = Refusals(TOKENS)
    kept.note(shown, "X")
    assert kept.recent("ACME") == []


def test_it_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "EACH", 3)
    monkeypatch.setattr(refusals, "ORGANISATIONS", 2)
    kept = Refusals(TOKENS)
    for organisation in ("A", "B", "C"):
        for _ in range(5):
            kept.note(token(organisation), "X")
    assert [kept.recent(name) for name in ("A", "B", "C")] == [[], [("X", 3)], [("X", 3)]]
    monkeypatch.setattr(refusals, "SECONDS", -1.0)
    assert kept.recent("C") == []
