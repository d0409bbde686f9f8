"""The baseline makes the same database as the seventeen migrations that it replaces."""

from __future__ import annotations

import asyncio
import re
import subprocess
from importlib import resources
from pathlib import Path

import asyncpg
import pytest

from infra.postgres.embedded.placement import wheel_binaries
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.schema.migrate import RECORDS, Connection, migrate
from tests import databases

VERSIONS = "SELECT view, version FROM ledger.view_versions ORDER BY view"
ROLES = """
SELECT r.rolname, m.rolname FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid
  JOIN pg_roles m ON m.oid = a.member WHERE starts_with(r.rolname, 'crmledger') ORDER BY 1, 2
"""
WITHOUT = re.compile(
    r"\n-- Name: FUNCTION have_role|\n-- Name: have_role|\n-- Name: schema_migrations"
)
"""Roles are made by the first file, which needs no function for it."""


def text(folder: str, name: str) -> str:
    return (resources.files("infra.schema") / folder / name).read_text("utf-8")


def named(folder: str) -> list[str]:
    return sorted(file.name for file in (resources.files("infra.schema") / folder).iterdir())


async def build(connection: Connection) -> None:
    """The database as the new files make it: roles and schemas, functions, and the rest."""
    functions = [
        text(f"functions/{schema}", name)
        for schema in named("functions")
        for name in named(f"functions/{schema}")
    ]
    first, *others = (text("baseline", name) for name in named("baseline"))
    async with connection.transaction():
        await connection.execute(RECORDS)
        await connection.execute("SET LOCAL check_function_bodies = off")
        for sql in (first, *functions, *others):
            await connection.execute(sql)


def parts(binaries: Path, url: str) -> set[str]:
    """The objects of a database as `pg_dump` describes them, but for line breaks and indents."""
    command = [str(binaries / "pg_dump"), "--schema-only", url]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    dump = dump.partition("\n-- PostgreSQL database dump complete")[0]
    found = set()
    for part in re.split(r"(?=\n--\n-- Name: )", dump):
        if not WITHOUT.search(part) and "-- Name: " in part:
            words = re.sub(r"\s*--[^\n]*", "\n", part) if " LANGUAGE " in part else part
            words = re.sub(r"\s+", " ", re.sub(r"'\s*\n\s*'", "", words))
            found.add(re.sub(r"(?<=\() | (?=\))", "", words))
    return found


async def test_the_baseline_makes_the_same_database(postgres: EmbeddedPostgres) -> None:
    binaries = databases.binaries() or wheel_binaries()
    if not (binaries / "pg_dump").exists():
        pytest.skip(f"there is no pg_dump in {binaries}")
    async with (
        databases.database(postgres, "template0") as old,
        databases.database(postgres, "template0") as new,
    ):
        before, after = await asyncpg.connect(old), await asyncpg.connect(new)
        try:
            await migrate(before)
            await build(after)
            assert await before.fetch(VERSIONS) == await after.fetch(VERSIONS)
            assert await after.fetch(ROLES)
        finally:
            await before.close()
            await after.close()
        ours, theirs = await asyncio.gather(
            asyncio.to_thread(parts, binaries, new), asyncio.to_thread(parts, binaries, old)
        )
    assert len(ours) > 400
    assert sorted(ours - theirs) == sorted(theirs - ours) == []
