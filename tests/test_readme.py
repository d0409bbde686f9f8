"""The README's walk-through: its commands are run, and what they print is what it says."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.app import listening, opened
from infra.demo.load import load_demo
from infra.settings import Settings
from tests.service import environment

README = Path(__file__).parent.parent / "README.md"
ID = re.compile(r"\b[0-9A-F]{32}\b")


def commands() -> Iterator[tuple[str, str]]:
    """Each command of the README with the output it shows."""
    for block in re.findall(r"```console\n(.*?)```", README.read_text("utf-8"), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            yield command, output.strip()


def script(password: str, base: str) -> str:
    """All commands as one shell session that marks where each one's output ends."""
    lines = [f"PASSWORD={password}"]
    lines += [f"{command}\necho; echo ---" for command, _ in commands()]
    return "\n".join(lines).replace("http://127.0.0.1:8080", base)


@pytest.mark.skipif(shutil.which("curl") is None, reason="the walk-through is written with curl")
async def test_the_walk_through(database: str, tmp_path: Path) -> None:
    settings = Settings.from_environment(environment(database))
    async with opened(settings, database) as application:
        made_up = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        async with listening(application) as ports:
            base = f"http://{settings.host}:{ports.port}"
            shell = await asyncio.create_subprocess_exec(
                "sh",
                "-c",
                script(made_up.passwords["demo"], base),
                stdout=asyncio.subprocess.PIPE,
            )
            said, _ = await shell.communicate()
    printed = [output.strip() for output in said.decode().split("---")]
    expected = [output for _, output in commands()]
    assert [ID.sub("ID", p) for p in printed[:-1]] == [ID.sub("ID", e) for e in expected]
    assert sum(bool(output) for output in expected) >= 6


async def test_the_demo_is_loaded_once(database: str, tmp_path: Path) -> None:
    settings = Settings.from_environment(environment(database))
    async with opened(settings, database) as application:
        first = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        organisation = await application.ledger.organisation("CRMDEMO")
        assert organisation is not None
        countries = await application.ledger.records(organisation, "country", None, 1000, 0)
        assert len(countries) == 249
        again = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        assert again == first
        (tmp_path / "demo.json").unlink()
        fresh = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        assert fresh.passwords["demo"] != first.passwords["demo"]
