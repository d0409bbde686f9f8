"""The auditor's walk (docs/auditing.md): each question's command is run, and answers what it says."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from infra.app import open_application, serve_http
from infra.demo.load import load_demo
from infra.settings import Settings
from tests.fixtures.service import environment
from tests.fixtures.walkthrough import commands, outputs

PAGE = Path(__file__).parents[2] / "docs" / "auditing.md"
MISSING = [name for name in ("curl", "jq") if shutil.which(name) is None]


@pytest.mark.skipif(bool(MISSING), reason=f"THE AUDITOR'S WALK WAS NOT TESTED: no {MISSING}")
async def test_the_walk(database: str, tmp_path: Path) -> None:
    settings = Settings.from_environment(environment(database))
    async with open_application(settings, database) as application:
        made_up = await load_demo(application, tmp_path / "demo.json", lambda _: None)
        words = {
            "PASSWORD": made_up.passwords["demo"],
            "AUDITOR_PASSWORD": made_up.passwords["auditor"],
            "TMPDIR": str(tmp_path),
        }
        known = {"PATH": os.environ["PATH"], "COLUMNS": "100"} | environment(database) | words
        async with serve_http(application) as ports:
            printed = await outputs(PAGE, f"http://{settings.host}:{ports.port}", known)
    asked = list(commands(PAGE))
    for (command, expected), found in zip(asked, printed, strict=True):
        assert found == expected, command


def test_at_least_ten_questions_are_answered() -> None:
    asked = re.findall(r"^\*\*[^*]+[?.]\*\*", PAGE.read_text("utf-8"), re.MULTILINE)
    assert len(asked) >= 10
    assert sum(bool(output) for _, output in commands(PAGE)) >= len(asked)
