"""The answers of docs/analytics.md are what the demo organisation's database says to an analyst."""

from __future__ import annotations

import asyncpg
import pytest

from tests.analytics.answers import answered, questions

QUESTIONS = questions()


def test_there_are_twelve() -> None:
    assert len(QUESTIONS) == 12


@pytest.mark.parametrize(
    ("sql", "shown"),
    [(sql, shown) for _, sql, shown in QUESTIONS],
    ids=[title for title, _, _ in QUESTIONS],
)
async def test_the_answer_is_the_one_that_is_shown(demo: str, sql: str, shown: str) -> None:
    connection = await asyncpg.connect(demo, server_settings={"search_path": "analytics"})
    try:
        await connection.execute("SET ROLE crmledger_analyst")
        assert await answered(connection, sql) == shown
    finally:
        await connection.close()
