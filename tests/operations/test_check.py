"""The self-test: a sound installation passes, and each thing that can be wrong is named."""

from __future__ import annotations

import json

import pytest

from infra.audit.seal_builder import seal_next
from infra.audit.sealer import signer_of
from infra.cli.main import app
from infra.diagnostics.delivery import SENDING_CHECKS
from infra.diagnostics.ledger import DEEP_CHECKS, LEDGER_CHECKS
from infra.diagnostics.runner import CheckReport, run
from infra.diagnostics.server import SERVER_CHECKS
from infra.ledger.positions import head_positions
from infra.projections.projector import Projector
from infra.settings import Settings
from tests.fixtures.read_models import connection
from tests.fixtures.service import RING, environment
from tests.infra.test_cli_views import run as typed

CHECKS = (*SERVER_CHECKS, *LEDGER_CHECKS, *SENDING_CHECKS)
UNGUARDED = "ALTER TABLE ledger.events DISABLE TRIGGER USER; "
LAST = "(SELECT organisation FROM ledger.events GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)"


async def found(url: str, *checks: object, **more: str) -> dict[str, CheckReport]:
    settings = Settings.from_environment(environment(url, **more))
    reports = await run(url, settings, checks or CHECKS)  # type: ignore[arg-type]
    return {report.check: report for report in reports}


async def sealed(url: str) -> None:
    """Feeds the views and seals, as the running service does."""
    projector = Projector(url, RING)
    await projector.once()
    await projector.close()
    signer = signer_of(environment(url)["CRMLEDGER_SERVICE_KEY"])
    async with connection(url) as owner:
        for organisation in await head_positions(owner):
            await seal_next(owner, organisation, signer, RING, 4096)


async def test_a_sound_installation(lively: str) -> None:
    await sealed(lively)
    reports = await found(lively, *CHECKS, *DEEP_CHECKS)
    assert {
        name: report.message for name, report in reports.items() if report.verdict != "ok"
    } == {}
    assert "none missing" in reports["positions"].message
    assert "events verified" in reports["every event"].message


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        ("UPDATE schema_migrations SET checksum = '' WHERE version = 2", "schema", "0002_ledger"),
        (
            "GRANT INSERT ON ledger.events TO crmledger_service",
            "privileges",
            "change ledger.events",
        ),
        ("GRANT SELECT ON views.contacts TO crmledger_analyst", "privileges", "views.contacts"),
        ("GRANT SELECT ON ledger.secrets TO crmledger_deliverer", "privileges", "ledger.secrets"),
        ("GRANT UPDATE ON webhooks.pending TO crmledger_service", "privileges", "webhooks.pending"),
        ("ALTER TABLE ledger.events DISABLE TRIGGER append_only", "guards", "ledger.events"),
        ("DROP TRIGGER append_only_whole ON ledger.seals", "guards", "ledger.seals"),
        (
            f"{UNGUARDED} DELETE FROM ledger.events WHERE position = 20 AND organisation = {LAST}",
            "positions",
            "lacks 1 of its last",
        ),
        (
            f"{UNGUARDED} DELETE FROM ledger.events WHERE position = 1 AND organisation = {LAST}",
            "positions",
            "begins at 2",
        ),
        (
            f"{UNGUARDED} UPDATE ledger.events SET topic = 'x' WHERE organisation = {LAST}"
            f" AND position = (SELECT max(position) - 50 FROM ledger.events WHERE organisation = {LAST})",
            "authenticity",
            "was not written with the service key",
        ),
        ("UPDATE ledger.sequences SET value = 1", "sequences", "is at 1, but"),
        ("UPDATE projection.checkpoints SET position = 999", "views", "ahead of the ledger"),
        (
            f"{UNGUARDED} DELETE FROM ledger.events e WHERE position > 30",
            "seals",
            "ends before its last seal",
        ),
    ],
)
async def test_what_is_wrong_is_named(lively: str, change: str, check: str, said: str) -> None:
    await sealed(lively)
    async with connection(lively) as owner:
        await owner.execute(change)
    report = (await found(lively))[check]
    assert report.verdict == "failed"
    assert said in report.message


async def test_what_is_only_late_is_a_warning(lively: str) -> None:
    async with connection(lively) as owner:
        await owner.execute(
            "UPDATE ledger.view_versions SET version = 0 WHERE view = 'views.identifiers'"
        )
    reports = await found(lively)
    assert (reports["views"].verdict, "views.identifiers" in reports["views"].message) == (
        "warning",
        True,
    )


async def test_another_service_key_is_noticed(lively: str) -> None:
    reports = await found(lively, CRMLEDGER_SERVICE_KEY="another-service-key-0123456789-01234")
    assert reports["secrets"].verdict == "failed"


async def test_a_server_that_forgets_in_a_crash(database: str) -> None:
    report = (await found(database))["durability"]
    assert (report.verdict, "fsync" in report.message) == ("failed", True)


async def test_a_long_transaction_is_named(lively: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.diagnostics.server.LONG", 0.0)
    async with connection(lively) as idle, idle.transaction():
        pid = await idle.fetchval("SELECT pg_backend_pid()")
        await idle.execute("SET LOCAL application_name = 'somebody'")
        report = (await found(lively))["transactions"]
    assert report.verdict == "warning"
    assert f"process {pid} (somebody, database " in report.message


async def test_no_database_is_one_line(lively: str) -> None:
    [report] = (await found(lively.replace("test_", "nowhere_"))).values()
    assert (report.check, report.verdict) == ("database", "failed")


async def printed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Exit status of the program, run in this process, and what it prints."""
    with pytest.raises(SystemExit) as left:
        await app.run_async(words)
    return int(left.value.code or 0), capsys.readouterr().out


async def test_the_commands(
    lively: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variables = environment(lively, COLUMNS="80")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    status, said = await typed(variables, "check", "--json", "--deep")
    assert status == 0, said
    reports = json.loads(said)
    assert [report["check"] for report in reports][-1] == "every event"
    async with connection(lively) as owner:
        await owner.execute("ALTER TABLE ledger.events DISABLE TRIGGER USER")
    status, said = await printed(capsys, "check")
    assert status == 1
    assert "failed   guards        off: ledger.events (append_only)" in said

    status, said = await printed(capsys, "describe", "--json")
    assert status == 0
    described = json.loads(said)
    assert described["events"]["communication"]["drafted"] == 1
    assert {method["path"] for method in described["methods"]} >= {"communications/create"}
    secrets = [variables[name] for name in variables if name.endswith(("_KEY", "_SECRET"))]
    assert not any(secret in said for secret in [*secrets, lively])
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    status, said = await printed(capsys, "check")
    assert (status, said.startswith("failed   database      cannot be reached: ")) == (1, True)
    assert len(said.splitlines()) == 1

    _, said = await printed(capsys, "describe")
    assert "CRMLEDGER_SERVICE_KEY = (hidden)  (environment)" in said
