"""``crmledger import``: JSON Lines from a file or standard input (reference_entities.md, section 1)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.contract.scenes import base_records
from tests.fixtures.service import ROOT, Api, environment, run_in_process

GOLDEN = "GOLDEN"


async def crmledger(
    database: str, *arguments: str, given: bytes | None = None, **settings: str
) -> tuple[int, str, str]:
    """Exit status and output of ``crmledger import``."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "infra.cli.main",
        "import",
        *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "COLUMNS": "200"} | environment(database, **settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(child.communicate(given), 60)
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()


def lines(*records: dict[str, Any]) -> bytes:
    return b"\n".join(json.dumps(record, ensure_ascii=False).encode() for record in records)


async def events(database: str) -> int:
    connection = await asyncpg.connect(database)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM ledger.events"))
    finally:
        await connection.close()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.jsonl"
    path.write_bytes(lines(*base_records()) + b"\n")
    return path


async def test_imports_a_file_that_the_service_then_serves(database: str, base: Path) -> None:
    count = len(base_records())
    status, out, _ = await crmledger(database, str(base))
    assert (status, out.split()) == (
        0,
        f"created {count} updated 0 unchanged 0 refused 0".split(),
    )
    async with run_in_process(database) as service:
        api = Api(service, organisation=GOLDEN)
        body = {"type": "PERSON", "first_name": "A", "last_name": "B"}
        assert (await api.post("contact_information/create", **body))["name"] == "A B"
    before = await events(database)
    status, out, _ = await crmledger(database, str(base))
    assert (status, out.split()) == (
        0,
        f"created 0 updated 0 unchanged {count} refused 0".split(),
    )
    assert await events(database) == before


async def test_imports_standard_input_with_options(database: str, base: Path) -> None:
    await crmledger(database, str(base))
    given = lines({"id": "1", "name": "\N{GREEK CAPITAL LETTER OMEGA}"}, {"id": "2", "name": "B"})
    options = ("--organisation", GOLDEN, "--kind", "industry")
    status, out, err = await crmledger(database, *options, given=given)
    assert (status, out.split()[:2]) == (0, ["created", "2"]), err
    async with run_in_process(database) as service:
        api = Api(service, organisation=GOLDEN)
        body = {"type": "PERSON", "first_name": "A", "last_name": "B"}
        demographics = {"industry_identifier": {"name": "\N{GREEK CAPITAL LETTER OMEGA}"}}
        made = await api.post("contact_information/create", **body, demographics=demographics)
    assert made["demographics"]["industry"]["id"] == "1"


async def test_reports_refused_lines_and_goes_on(database: str, base: Path) -> None:
    await crmledger(database, str(base))
    given = lines({"id": "1", "name": "A"}, {"id": "2", "colour": "red"}) + b"\n\n{not json}\n"
    given += lines({"id": "3", "name": "C"})
    options = ("--organisation", GOLDEN, "--kind", "industry")
    status, out, err = await crmledger(database, *options, given=given)
    assert status == 1
    assert out.split() == ["created", "2", "updated", "0", "unchanged", "0", "refused", "2"]
    assert "line 2: COM.CRM.EXCEPTION.CORE.INVALIDPARAMETERVALUEEXCEPTION colour" in err
    assert "line 4: COM.CRM.EXCEPTION.CORE.INVALIDREQUESTEXCEPTION not strict JSON" in err
    assert "Traceback" not in err


async def test_an_unknown_organisation_refuses_every_line(database: str) -> None:
    given = lines({"kind": "industry", "id": "1", "name": "A"})
    status, _, err = await crmledger(database, "--organisation", "NONE", given=given)
    assert status == 1
    assert "line 1: COM.CRM.EXCEPTION.CORE.ENTITYNOTFOUNDEXCEPTION organisation" in err
    assert await events(database) == 0


async def test_nothing_to_import(database: str) -> None:
    status, out, _ = await crmledger(database, given=b"")
    assert (status, out.split()) == (
        0,
        ["created", "0", "updated", "0", "unchanged", "0", "refused", "0"],
    )


async def test_says_in_one_line_why_it_cannot_begin(database: str, empty_database: str) -> None:
    for url, arguments in ((database, ("no such file",)), (empty_database, ())):
        status, out, err = await crmledger(url, *arguments, given=b"")
        assert (status, out) == (1, "")
        assert "Traceback" not in err
        assert err.startswith("crmledger: ")
