"""All that a terminal shows is data: no text of a user moves its cursor, colours it or becomes another (CWE-150)."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from cyclopts import App
from rich.color import ColorSystem
from rich.text import Text

from infra.audit import verifier
from infra.cli.main import app
from infra.cli.terminal import Terminal, err, exit_with, out, progress, show_tracebacks
from infra.observability.logs import configure_logs
from infra.terminal_text import visible, visible_json, visible_lines
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.delivery import delivery_client
from tests.fixtures.operators import Operator
from tests.fixtures.organisation import GROUP, USER
from tests.fixtures.service import environment, run_in_process

SIGN = "[red]:smile:"
PLAIN = f"{SIGN}[/] https://x.example"
HOSTILE = f"\x1b]0;pwned\x07\x9b2J\x7f\u202e\u2028\u2066 {PLAIN}"
OBEYED = (
    "\x1b]",
    "\x07",
    "\x08",
    "\x9b",
    "\x7f",
    "\u202e",
    "\u2028",
    "\u2066",
    "\N{SMILING FACE WITH OPEN MOUTH AND SMILING EYES}",
)
"""Nothing of this comes from the program itself; its colours and progress bars begin with ESC and a bracket."""


class Screen(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Screens:
    """A terminal that shows standard output and error."""

    screen: Screen

    def shown(self) -> str:
        """Return what was shown since the last call, of which nothing is obeyed."""
        text = self.screen.getvalue()
        self.screen.seek(0)
        self.screen.truncate()
        assert not [sign for sign in OBEYED if sign in text], repr(text)
        return text


@pytest.fixture
def screens(monkeypatch: pytest.MonkeyPatch) -> Screens:
    made = Screens(Screen())
    for terminal in (out, err):
        monkeypatch.setattr(terminal, "_file", made.screen)
        monkeypatch.setattr(terminal, "_force_terminal", True)
        monkeypatch.setattr(terminal, "_color_system", ColorSystem.STANDARD)
        monkeypatch.setattr(terminal, "_width", 300)
    return made


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 🎉 日本 :smile: [b] \\x1b", "plain é 🎉 日本 :smile: [b] \\x1b"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x00\x7f\x80\x9f\xa0", "\\x00\\x7f\\x80\\x9f\xa0"),
        ("\u202eevil\u2066\u200f\u061c", "\\u202eevil\\u2066\\u200f\\u061c"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
        ("\ud800", "\\ud800"),
        # Joiners are part of words and emoji.
        ("👩\u200d👩 \u0645\u06cc\u200c", "👩\u200d👩 \u0645\u06cc\u200c"),
    ],
)
def test_controls_are_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown


def test_lines_stay_lines() -> None:
    assert visible_lines("a\x1b\n\tb") == "a\\x1b\n\\tb"


def test_json_stays_the_same_document() -> None:
    document = {"a": HOSTILE, "b": [1, "é\x85"]}
    text = json.dumps(document, ensure_ascii=False, indent=2)
    assert json.loads(visible_json(text)) == document
    assert visible_lines(visible_json(text)) == visible_json(text)


def test_a_terminal_shows_data(screens: Screens) -> None:
    out.print_line(("a", "bold"), HOSTILE, "\nb", style="red")
    out.print_table(("one", "two"), [(HOSTILE, "a\nb")])
    out.print_grid([((HOSTILE, "red"), HOSTILE)])
    out.print_document(json.dumps(HOSTILE, ensure_ascii=False).encode())
    # What libraries print on it is data, too.
    out.print(HOSTILE)
    out.print(Text(HOSTILE))
    with progress() as bar:
        bar.advance(bar.add_task(HOSTILE, total=1), 1)
    with pytest.raises(SystemExit):
        exit_with(ValueError(HOSTILE))
    shown = screens.shown()
    assert shown.count(PLAIN) >= 9
    assert "\\nb" in shown
    assert "\x1b[31m" in shown or "\x1b[1" in shown


def test_a_document_for_programs_is_as_it_was() -> None:
    pipe = io.StringIO()
    Terminal.print_document(Terminal(), b"{}")
    terminal = Terminal()
    terminal.file = pipe
    terminal.print_document(json.dumps(HOSTILE, ensure_ascii=False).encode())
    assert pipe.getvalue() == json.dumps(HOSTILE, ensure_ascii=False) + "\n"


def test_text_for_people_is_visible_in_a_pipe_too() -> None:
    pipe = io.StringIO()
    terminal = Terminal()
    terminal.file = pipe
    terminal.print_line(("a", "bold"), HOSTILE * 10)
    assert pipe.getvalue() == f"a{visible(HOSTILE * 10)}\n"


def test_tracebacks(screens: Screens, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sys, threading):
        monkeypatch.setattr(module, "excepthook", module.excepthook)  # type: ignore[attr-defined]
    show_tracebacks()

    def fail() -> None:
        raise ValueError(f"{HOSTILE}\n{HOSTILE}")

    try:
        fail()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    threading.excepthook(threading.ExceptHookArgs((ValueError, ValueError(HOSTILE), None, None)))
    shown = screens.shown()
    assert shown.count(PLAIN) >= 3
    assert "in fail" in shown


def test_the_verifier(capsys: pytest.CaptureFixture[str]) -> None:
    assert verifier.main([f"/none/{HOSTILE}"]) == 1
    with pytest.raises(SystemExit):
        verifier.main(["file", HOSTILE])
    shown = "".join(capsys.readouterr())
    assert shown.count(SIGN) == 2
    assert not [sign for sign in OBEYED if sign in shown]


@contextmanager
def configured_logs() -> Iterator[None]:
    """Logs as a program has them, and afterwards as they were."""
    former, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logs()
    try:
        yield
    finally:
        structlog.configure(**former)
        root.handlers[:] = handlers
        root.setLevel(level)


def test_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream, is_terminal in ((Screen, True), (io.StringIO, False)):
        written = io.BytesIO()
        shown = stream()
        monkeypatch.setattr(shown, "buffer", written, raising=False)
        monkeypatch.setattr(sys, "stderr", shown)
        with configured_logs():
            structlog.get_logger().info("test", name=HOSTILE)
        line = written.getvalue().decode()
        assert json.loads(line)["name"] == HOSTILE
        assert (visible_lines(line) == line) is is_terminal


async def test_every_command(
    database: str, screens: Screens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each shows what was planted wherever it shows anything, and as data."""
    for name, value in environment(database).items():
        monkeypatch.setenv(name, value)
    for module in (sys, threading):
        monkeypatch.setattr(module, "excepthook", module.excepthook)  # type: ignore[attr-defined]
    show_tracebacks()
    async with run_in_process(database) as service:
        client = await delivery_client(service)
        entities = await plant(client)
    lines = tmp_path / "lines"
    refused = {"kind": "industry", "id": "1", "name": "A", HOSTILE: 1}
    lines.write_bytes(b"\n".join(json.dumps(r).encode() for r in (refused, {"kind": HOSTILE})))
    name, odd = client.api.organisation, tmp_path / f"{SIGN}.csv"
    scripts: dict[str, list[tuple[list[str], bool]]] = {
        "db migrate": [([], False)],
        "db status": [([], False)],
        "db assert": [([], False)],
        "views list": [([], False)],
        "views rebuild": [([], False)],
        "views rollback": [([], False)],
        "views verify": [([], False)],
        "views discard": [([], False)],
        "views parked": [([], False)],
        "views retry": [([], False), ([HOSTILE], False)],
        "views reset": [([HOSTILE], True)],
        "replay": [([name], False), ([name, "--entity", f"organisation/{name}"], True)],
        "history": [*(([name, entity], True) for entity in entities), ([HOSTILE, HOSTILE], False)],
        "sessions list": [([name], True)],
        "sessions release": [([name, HOSTILE], False)],
        "users reset-guesses": [([name, HOSTILE], False)],
        "access-tokens reset-guesses": [([name, HOSTILE], False)],
        "contacts certificate": [([name, client.contacts[0]], False), ([name, HOSTILE], False)],
        "contacts erase": [([name, client.contacts[1], "--reason", HOSTILE], True)],
        "webhooks list": [([name], True)],
        "webhooks deliveries": [([name, "W"], False), ([name, HOSTILE], False)],
        "webhooks replay": [([name, "W", "--from", "1"], False)],
        "webhooks resume": [([name, "W"], False), ([name, HOSTILE], False)],
        "audit public-key": [([], False)],
        "audit seal": [([name], False), ([HOSTILE], False)],
        "audit verify": [([], False), ([HOSTILE], True), (["--seal", HOSTILE], True)],
        "audit export": [([name, str(odd)], True), ([HOSTILE, str(odd)], True)],
        "audit prove": [([name, "1"], False), ([HOSTILE, "1"], True)],
        "audit prove-entity": [([name, f"organisation/{name}"], True), ([name, HOSTILE], False)],
        "keys rewrap": [([], False), (["--organisation", HOSTILE], True)],
        "check": [([], False), (["--json"], False)],
        "describe": [([], False), (["--json"], False)],
        "export": [([HOSTILE, str(odd)], True), (["ledger", str(odd)], False)],
        "import": [([str(lines), "--organisation", name], True)],
    }
    assert scripts.keys() | WORKERS == set(command_names(app))
    for command, runs in scripts.items():
        for words, is_planted in runs:
            await run_command([*command.split(), *words])
            shown = screens.shown()
            assert (SIGN in shown) >= is_planted, f"{command} {words!r}: {shown}"
    await run_command([HOSTILE])
    await run_command(["history", name, entities[0], "--start", HOSTILE])
    assert SIGN in screens.shown()


WORKERS = {"serve", "deliver", "send", "project"}
"""The commands that run until they are stopped: they print addresses, and log lines."""


def command_names(group: App) -> Iterator[str]:
    """Yield the words of every command."""
    for name in group:
        if name.startswith("-"):
            continue
        command = group[name]
        inner = list(command_names(command))
        yield from ([f"{name} {words}" for words in inner] or [name])


async def run_command(words: list[str]) -> None:
    """Run a command as the program does; its errors are shown."""
    try:
        await app.run_async(words)
    except SystemExit:
        pass
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)


async def plant(client: CommunicationsClient) -> list[str]:
    """Put hostile text wherever an organisation can; return entities whose history shows it."""
    operator, name = Operator(client.api), client.api.organisation
    await operator.put("organisation", name, name=name, default_sms_sender=HOSTILE)
    await operator.put(
        "webhook",
        "W",
        url=f"https://x.example/{SIGN}",
        name=HOSTILE,
        secret="whsec_" + "QUJD" * 8,
    )
    await operator.put("communication_template", "T", name=HOSTILE, content=HOSTILE)
    await operator.put("unit", "ODD", name=HOSTILE, group_id=GROUP)
    client.api.token = await client.api.login()
    await operator.put("user", USER, username=HOSTILE, default_unit_id="ODD")
    contact = await client.new_contact(
        {"type": "PERSON", "first_name": HOSTILE, "last_name": HOSTILE}
    )
    made = await client.create(media="SMS", to="1", content=HOSTILE, subject=HOSTILE)
    queue = (await client.api.get("communications/queue/list", media="SMS", number=1))[0]["id"]
    body = {"error_code": "E", "error_description": HOSTILE}
    await client.api.post(
        "communications/queue/reject", communication_queue_identifier={"id": queue}, **body
    )
    return [
        f"contact_information/{contact}",
        f"communication/{made['id']}",
        f"queue_entry/{queue}",
        f"organisation/{name}",
        "webhook/W",
        f"user/{USER}",
        "unit/ODD",
    ]
