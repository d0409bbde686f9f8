"""The same SQL on another PostgreSQL: the golden pairs on a system server, where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.postgres.embedded.server import system_postgres
from tests.fixtures.databases import KIND

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.skipif(system_postgres() is None, reason="no system PostgreSQL 15 or newer")
@pytest.mark.slow
def test_golden_pairs_on_the_system_server() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/contract/test_golden.py", "-q", "--no-header"],
        cwd=ROOT,
        env=os.environ | {KIND: "system"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout
