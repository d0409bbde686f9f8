"""The questions of docs/analytics.md, and what the database answers, as the page shows it."""

from __future__ import annotations

import re
from pathlib import Path

import asyncpg

PAGE = Path(__file__).parents[2] / "docs" / "analytics.md"
QUESTION = re.compile(r"^### (\d+\. .*?)\n.*?^```sql\n(.*?)^```\n\n((?:^\|[^\n]*\n)+)", re.M | re.S)


def questions() -> list[tuple[str, str, str]]:
    """Each question with its SQL and the answer that the page shows."""
    found = QUESTION.findall(PAGE.read_text("utf-8"))
    return [(title, sql, answer) for title, sql, answer in found]


async def answered(connection: asyncpg.Connection, sql: str) -> str:
    """The answer as a table."""
    statement = await connection.prepare(sql)
    names = [attribute.name for attribute in statement.get_attributes()]
    rows = [
        ["" if value is None else str(value) for value in row] for row in await statement.fetch()
    ]
    lines = [names, ["---"] * len(names), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
