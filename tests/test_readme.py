"""The README's walk-through: its commands are run, and what they print is what it says."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from infra.app import open_application, serve_http
from infra.demo.load import load_demo
from infra.settings import Settings
from tests.fixtures.service import environment
from tests.fixtures.walkthrough import commands, outputs

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the walk-through is written with curl")
async def test_the_walk_through(database: str, tmp_path: Path) -> None:
    settings = Settings.from_environment(environment(database))
    async with open_application(settings, database) as application:
        made_up = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        async with serve_http(application) as ports:
            base = f"http://{settings.host}:{ports.port}"
            known = {"PATH": os.environ["PATH"], "PASSWORD": made_up.passwords["demo"]}
            printed = await outputs(README, base, known)
    expected = [output for _, output in commands(README)]
    assert printed == expected
    assert sum(bool(output) for output in expected) >= 6


async def test_the_demo_is_loaded_once(database: str, tmp_path: Path) -> None:
    settings = Settings.from_environment(environment(database))
    async with open_application(settings, database) as application:
        first = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        organisation = await application.ledger.organisation("CRMDEMO")
        assert organisation is not None
        countries = [r async for r in application.ledger.records(organisation, "country")]
        assert len(countries) == 249
        again = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        assert again == first
        (tmp_path / "demo.json").unlink()
        fresh = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        assert fresh.passwords["demo"] != first.passwords["demo"]
