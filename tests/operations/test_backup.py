"""The backup page: its commands are run from the first to the last, on two servers."""

from __future__ import annotations

import os
from pathlib import Path

import asyncpg
import pytest

from infra.diagnostics.ledger import DEEP_CHECKS
from infra.diagnostics.runner import run
from infra.postgres.embedded.placement import wheel_binaries
from infra.postgres.embedded.server import EmbeddedPostgres
from infra.settings import Settings
from tests.fixtures import databases
from tests.fixtures.read_models import connection
from tests.fixtures.service import environment
from tests.fixtures.walkthrough import commands, outputs

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "backup.md"
PROGRAMS = ("pg_dump", "pg_restore", "psql")
SECRETS = ("CRMLEDGER_TOKEN_SECRET", "CRMLEDGER_SERVICE_KEY", "CRMLEDGER_OPERATOR_KEY")
EVENTS = "SELECT count(*) FROM ledger.events"


def programs() -> Path:
    """The folder of the server's own client programs."""
    folder = databases.binaries() or wheel_binaries()
    missing = [name for name in PROGRAMS if not (folder / name).exists()]
    if missing:
        pytest.skip(f"THE BACKUP PAGE WAS NOT RUN: there is no {', '.join(missing)} in {folder}")
    return folder


def kept(variables: dict[str, str], folder: Path) -> None:
    """The secrets as files of the data folder, where the program keeps them."""
    (folder / "secrets").mkdir()
    for name in SECRETS:
        (folder / "secrets" / name.removeprefix("CRMLEDGER_").lower()).write_text(variables[name])


async def test_the_backup_page(lively: str, tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    data.mkdir()
    backup.mkdir()
    variables = environment(lively, CRMLEDGER_DATA_DIR=str(data), BACKUP=str(backup), HOME="/")
    kept(variables, data)
    path = f"{programs()}{os.pathsep}{os.environ['PATH']}"
    with databases.server(durable=True) as empty:
        url = await _new(empty)
        printed = await outputs(PAGE, "", variables | {"PATH": path, "EMPTY_URL": url})
        assert printed == [output for _, output in commands(PAGE)]
        reports = await run(url, Settings.from_environment(environment(url)), DEEP_CHECKS)
        assert [report.verdict for report in reports] == ["ok"]
        async with connection(lively) as before, connection(url) as after:
            assert await before.fetchval(EVENTS) == await after.fetchval(EVENTS) > 100
            with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
                await after.execute("DELETE FROM ledger.events")


async def _new(empty: EmbeddedPostgres) -> str:
    """URL of a new database of a server that has nothing."""
    async with connection(empty.url) as owner:
        assert await owner.fetchval("SELECT to_regrole('crmledger_service')") is None
        await owner.execute("CREATE DATABASE restored")
    return empty.url_of("restored")
