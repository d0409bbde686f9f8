"""The ``crmledger`` program."""

from __future__ import annotations

import gc
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import asyncpg
import uvloop
from cyclopts import App, Parameter

from infra.analytics.install import deploy, repeatables
from infra.app import Application, run_sealer, serve_http
from infra.cli.audit import audit
from infra.cli.diagnostics import check, describe
from infra.cli.export import export_
from infra.cli.history import history
from infra.cli.keys import keys
from infra.cli.operators import access_tokens, contacts, sessions, users
from infra.cli.project import project
from infra.cli.runtime import database, open_command_application, prepare_schema, stop_signal
from infra.cli.send import send, send_in_background
from infra.cli.terminal import err, exit_with, out, progress, show_tracebacks
from infra.cli.views import replay, views
from infra.cli.webhooks import deliver, webhooks
from infra.demo.load import ORGANISATION, DemoSecrets, load_demo, total_lines
from infra.http.server import ListenError
from infra.observability.logs import configure_logs
from infra.schema.migrate import MigrationError, status
from infra.settings import Settings, SettingsError
from services.reference.importer import import_lines

__all__ = ["main"]

app = App(
    name="crmledger",
    help="An event-sourced CRM service over PostgreSQL.",
    console=out,
    error_console=err,
)
db = App(name="db", help="The database's schema.")
app.command(db)
app.command(views)
app.command(project)
app.command(deliver)
app.command(send)
app.command(replay)
app.command(history)
app.command(sessions)
app.command(users)
app.command(access_tokens)
app.command(contacts)
app.command(webhooks)
app.command(audit)
app.command(keys)
app.command(check)
app.command(describe)
app.command(export_, name="export")


def main() -> None:
    """Run the program; an expected error is printed as one line, with exit status 1."""
    show_tracebacks()
    configure_logs()
    try:
        uvloop.install()
        app()
    except (SettingsError, MigrationError, ListenError, FileNotFoundError) as error:
        exit_with(error)


@app.command
async def serve(*, demo: bool = False) -> None:
    """Serve the API. Runs until SIGTERM or Ctrl-C.

    Parameters
    ----------
    demo
        Load the demo organisation first, and print a login for it.
    """
    settings = Settings.from_environment()
    stop = stop_signal()
    async with open_command_application(settings) as application:
        secrets = await _load_demo(application) if demo else None
        _tune_interpreter()
        # The embedded server ends with this process, so no other process can send from its queue.
        sender = send_in_background(application) if settings.embedded else nullcontext()
        sealer = run_sealer(settings, application.url)
        async with sender, sealer, serve_http(application) as ports:
            _print_addresses(settings, ports.port, ports.admin_port, secrets)
            await stop.wait()


def _tune_interpreter() -> None:
    """Freeze what is imported, so that the garbage collector need not scan it again, and collect less often.

    A short switch interval: the event loop must run soon while a thread computes, as in a replay.
    """
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


async def _load_demo(application: Application) -> DemoSecrets:
    path = application.settings.data_dir / "secrets" / "demo.json"
    with progress() as bar:
        task = bar.add_task("demo organisation", total=total_lines())
        return await load_demo(application, path, lambda count: bar.advance(task, count))


def _print_addresses(
    settings: Settings, port: int, admin_port: int, secrets: DemoSecrets | None
) -> None:
    base = f"http://{settings.host}:{port}"
    out.print_line(f"API and documentation  {base}/docs")
    out.print_line(f"Health and metrics     http://{settings.host}:{admin_port}/health/ready")
    if secrets is not None:
        password = secrets.passwords["demo"]
        body = f'{{"username":"demo","password":"{password}","organisation":"{ORGANISATION}"}}'
        path = "crmapi/rest/v2/authentication/token"
        out.print_line(f"Login                  demo / {password} / {ORGANISATION}")
        out.print_line(f"Try                    curl -s {base}/{path} -d '{body}'")
    out.file.flush()


@app.command(name="import")
async def import_(
    file: Annotated[Path | None, Parameter(help="JSON Lines; standard input by default.")] = None,
    *,
    organisation: str | None = None,
    kind: str | None = None,
) -> None:
    """Register reference records, one JSON object a line, in order.

    Parameters
    ----------
    organisation
        Name of the organisation of records that name none.
    kind
        Kind of records that name none.
    """
    content = file.read_bytes() if file else sys.stdin.buffer.read()
    async with open_command_application(Settings.from_environment()) as application:
        with progress() as bar:
            task = bar.add_task("records", total=len(content) + 1)
            report = await import_lines(
                application.registrar,
                content.split(b"\n"),
                organisation=organisation,
                kind=kind,
                source=f"import {file or '-'}",
                advance=lambda count: bar.advance(task, count),
            )
    for refusal in report.refused:
        line, code, description = refusal["line"], refusal["code"], refusal["description"]
        err.print_line(f"line {line}: {code} {description}")
    for generated in report.secrets:
        out.print_line(f"line {generated['line']}: secret {generated['secret']}")
    counts = {name: n for name, n in report.summary().items() if isinstance(n, int)}
    counts |= {"refused": len(report.refused)}
    out.print_line(" ".join(f"{name} {n}" for name, n in counts.items()))
    if report.refused:
        sys.exit(1)


@db.command(name="migrate")
async def db_migrate() -> None:
    """Apply the pending migrations."""
    async with database(Settings.from_environment()) as url:
        connection = await asyncpg.connect(url)
        try:
            for applied in await deploy(connection):
                out.print_line(f"applied {applied}")
        finally:
            await connection.close()


@db.command(name="status")
async def db_status() -> None:
    """List the migrations, the functions and the views of analysts, and the state of each."""
    async with database(Settings.from_environment()) as url:
        connection = await asyncpg.connect(url)
        try:
            migrations, others = await status(connection), await repeatables(connection)
        finally:
            await connection.close()
    rows = [(str(m.version), m.name, m.state, str(m.applied_at or "")) for m in migrations]
    rows += [("", str(o), "applied" if at else "pending", str(at or "")) for o, at in others]
    out.print_table(("version", "name", "state", "applied at"), rows)


@db.command(name="assert")
async def db_assert() -> None:
    """Exit with 1 unless the database has exactly this program's schema."""
    async with database(Settings.from_environment()) as url:
        await prepare_schema(url, own=False)


if __name__ == "__main__":
    main()
