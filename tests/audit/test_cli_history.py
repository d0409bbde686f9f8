"""``crmledger history``: the same history at the terminal, for operators."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from tests.fixtures.auditors import Auditor
from tests.fixtures.organisation import query_rows
from tests.fixtures.service import ROOT, environment

READ = """
SELECT payload::text AS payload, metadata::text AS metadata FROM ledger.events
 WHERE organisation = $1 || '~access' ORDER BY position DESC LIMIT 1
"""


async def history(audited: Auditor, *arguments: str) -> tuple[int | None, str, str]:
    """Exit status and output of ``crmledger history``."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli.main", "history", *arguments),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200"}
        | environment(audited.desk.api.service.database),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(), 60)
    return child.returncode, out.decode(), err.decode()


async def test_a_history(audited: Auditor) -> None:
    desk, organisation = audited.desk, audited.desk.api.organisation
    draft = await desk.create_draft(subject="[red]Hello[/]", media="EMAIL", to="a@b")
    await desk.call("complete", draft)
    entity = f"communication/number={draft['number']}"
    status, out, err = await history(audited, organisation, entity)
    assert (status, err) == (0, "")
    said = [" ".join(line.split()) for line in out.splitlines() if line.strip()]
    assert said[0].startswith(f"communication/{draft['id']} versions 1 to 2 of 2, position ")
    assert said[1] == f"1 Communication {draft['number']} was begun as a draft."
    assert said[2].startswith("Marios Lannister · Admin Unit · 127.0.0.1 · 20")
    assert "subject + [red]Hello[/]" in said
    assert "life_cycle_state - DRAFT + COMPLETED" in said
    assert said[-1].startswith("led to queue_entry/")
    (read,) = await query_rows(desk.api, READ)
    assert json.loads(read["payload"]) == {
        "method": "history",
        "about": {"entity": f"communication/{draft['id']}"},
    }
    assert json.loads(read["metadata"])["source"] == "crmledger history"


async def test_what_there_is_not(audited: Auditor) -> None:
    for arguments, at in (
        (("NOBODY", "user/1"), "organisation"),
        ((audited.desk.api.organisation, "user/x"), "entity"),
    ):
        status, out, err = await history(audited, *arguments)
        assert (status, out) == (1, "")
        assert err.strip().endswith(f": {at}")
