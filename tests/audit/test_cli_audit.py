"""``crmledger audit`` as an operator types it, and the sealers of the running processes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from infra.audit.verifier import main
from infra.cli.audit import audit
from tests.fixtures.audit import EVENTS, SIGNER, ledger, tampering, verify_output
from tests.fixtures.ledgers import call_append, commit_of, record
from tests.fixtures.read_models import connection
from tests.fixtures.service import environment, run_as_process
from tests.infra.test_cli_views import run
from tests.infra.test_projector import program

Audit = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def audit_(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Audit:
    """``crmledger audit`` in this process: exit status and all that it says."""
    for name, value in environment(database, COLUMNS="200").items():
        monkeypatch.setenv(name, value)

    async def typed(*words: str) -> tuple[int, str]:
        status = 0
        try:
            await audit.run_async(words)
        except SystemExit as left:
            status = int(left.code or 0)
        said = capsys.readouterr()
        return status, said.out + said.err

    return typed


async def test_from_a_seal_to_an_auditors_desk(
    database: str, tmp_path: Path, audit_: Audit, capsys: pytest.CaptureFixture[str]
) -> None:
    records, _ = await ledger(database)
    async with connection(database) as owner:
        await call_append(owner, commit_of(record()))
    kept, bundle = tmp_path / "kept", tmp_path / "bundle"
    status, seal = await audit_("seal")
    assert status == 0, seal
    kept.write_text(seal)
    assert await audit_("public-key") == (0, f"{SIGNER.key}\n")
    status, verified = await audit_("verify", "LEDGER", "--seal", str(kept))
    assert status == 0, verified
    assert "LEDGER: 11 events verified, 4 seals, 0 unsealed events" in verified
    assert "nothing cut or rewritten up to 11" in verified
    status, _ = await audit_("export", "LEDGER", str(bundle), "--from", "2")
    assert status == 0
    assert main([str(bundle), "--key", SIGNER.key, "--seal", str(kept)]) == 0
    assert "positions 1 to 11 of LEDGER are 11 events" in capsys.readouterr().out
    one = records[0]
    for words in (
        ("prove", "LEDGER", "3"),
        ("prove-entity", "LEDGER", f"industry/{one.record_id}"),
        ("prove-entity", "LEDGER", str(one.id)),
    ):
        status, proof = await audit_(*words)
        assert status == 0, proof
        kept.write_text(proof)
        assert main([str(kept), "--key", SIGNER.key]) == 0
        capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prove", "LEDGER", "12"), "position 12 of LEDGER is not sealed"),
        (("prove-entity", "LEDGER", "nobody"), "nobody is neither an entity's id nor"),
        (("export", "NOBODY", "bundle"), "NOBODY has no seal there"),
        (("verify", "--seal", "/none"), "No such file"),
    ],
)
async def test_a_refusal_says_why(audit_: Audit, words: tuple[str, ...], said: str) -> None:
    status, found = await audit_(*words)
    assert status == 1
    assert said in found
    assert found.splitlines()[-1].startswith("crmledger: ")


async def test_what_was_cut_is_named_and_exits_with_1(
    database: str, tmp_path: Path, audit_: Audit
) -> None:
    await ledger(database)
    kept = tmp_path / "kept"
    kept.write_text((await audit_("seal", "--all"))[1])
    assert kept.read_text().count("\n") == 3
    async with tampering(database) as owner:
        await owner.execute("DELETE FROM ledger.events WHERE position > 8")
        await owner.execute("DELETE FROM ledger.seals WHERE number > 2")
    status, found = await audit_("verify")
    assert status == 0, found
    assert "without a trusted checkpoint a cut tail cannot be detected" in found
    status, found = await run(environment(database), "audit", "verify", "--seal", str(kept))
    assert status == 1
    assert "LEDGER: position 9: cut: seal 3, a trusted checkpoint, reaches to 10" in found
    assert "100%" in found


async def test_the_processes_seal_by_themselves(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with connection(database) as owner:
        await call_append(owner, *(commit_of(record()) for _ in range(EVENTS)))

        async def sealed(count: int) -> None:
            async with asyncio.timeout(60):
                while await owner.fetchval("SELECT max(last_position) FROM ledger.seals") != count:
                    await asyncio.sleep(0.02)

        async with run_as_process(database, CRMLEDGER_SEAL_SECONDS="0.2") as service:
            await sealed(EVENTS)
            # The process counts a seal a moment after it can be read.
            async with asyncio.timeout(60):
                while "crmledger_seals_total 1.0" not in await service.metrics():
                    await asyncio.sleep(0.02)
        await call_append(owner, commit_of(record()))
        async with program(database, CRMLEDGER_SEAL_SECONDS="0.2"):
            await sealed(EVENTS + 1)
    assert not isinstance(await verify_output(database), tuple)
