"""Proofs of one event, of all events of an entity, and of none, as documents that need no database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import pytest_asyncio

from domain.reference.records import Record
from infra.audit.operations import prove, prove_entity
from infra.audit.proofs import Proof, ProofError, read_proof
from infra.audit.queries import snapshot
from infra.audit.seals import SealError, SignedSeal, Signer, parse_seals
from infra.audit.verifier import main
from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import databases
from tests.fixtures.audit import EVENTS, SIGNER, ledger, seal_lines, tampering, verify_output
from tests.fixtures.ledgers import ORGANISATION, call_append, commit_of, rename

KEYS = {SIGNER.key}
STRANGER = UUID(int=7)


@dataclass
class Sealed:
    """A sealed ledger, and one event after it."""

    url: str
    records: list[Record]
    seals: list[SignedSeal]

    async def event(self, position: int) -> Proof:
        async with snapshot(self.url) as connection:
            return await prove(connection, ORGANISATION, position)

    async def entity(self, stream: UUID) -> Proof:
        async with snapshot(self.url) as connection:
            return await prove_entity(connection, ORGANISATION, stream)


@pytest_asyncio.fixture(scope="module")
async def sealed(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[Sealed]:
    async with databases.database(postgres, template) as url:
        records, seals = await ledger(url)
        async with tampering(url) as owner:
            await call_append(owner, commit_of(rename(records[0])))
        yield Sealed(url, records, seals)


def bent(proof: Proof, *path: str | int, to: Any) -> Proof:
    """A proof with another value at a place of its document."""
    document = msgspec.json.decode(msgspec.json.encode(proof))
    place = document
    for step in path[:-1]:
        place = place[step]
    assert place[path[-1]] != to
    place[path[-1]] = to
    return read_proof(msgspec.json.encode(document))


async def test_every_sealed_event_is_proved(sealed: Sealed) -> None:
    for position in range(1, EVENTS + 1):
        proof = read_proof(msgspec.json.encode(await sealed.event(position)))
        assert proof.check(KEYS).startswith(f"position {position} of LEDGER is in seal")
    for position in (0, EVENTS + 1, 99):
        with pytest.raises(SealError, match="not sealed"):
            await sealed.event(position)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("event", "payload"), "{}"),
        (("event", "position"), 7),
        (("event", "position"), 4),
        (("event", "version"), 9),
        (("path", 0), "AAAA"),
        (("path",), []),
        (("seal", "signature"), "0" * 128),
        (("seal", "statement"), "{}"),
    ],
)
async def test_a_bent_proof_of_a_event_is_refused(
    sealed: Sealed, path: tuple[str | int, ...], to: object
) -> None:
    with pytest.raises(ProofError):
        bent(await sealed.event(6), *path, to=to).check(KEYS)


async def test_histories_are_proved_up_to_the_last_seal(sealed: Sealed) -> None:
    for one in sealed.records:
        proof = read_proof(msgspec.json.encode(await sealed.entity(one.id)))
        assert "has these 2 events and no others up to position 10" in proof.check(KEYS)
    proof = await sealed.entity(STRANGER)
    assert "has these 0 events" in proof.check(KEYS)


async def test_a_bent_proof_of_a_history_is_refused(sealed: Sealed) -> None:
    one, other = [await sealed.entity(record.id) for record in sealed.records[:2]]
    document = msgspec.json.decode(msgspec.json.encode(one))
    events = document["events"]
    foreign = msgspec.json.decode(msgspec.json.encode(other))
    for path, to in [
        (("events",), events[:1]),
        (("events",), events[1:]),
        (("events",), []),
        (("events",), events[::-1]),
        (("events",), [*events, events[1]]),
        (("events",), foreign["events"]),
        (("events", 1, "payload"), "{}"),
        (("events", 1, "payload"), "\ud800"),
        (("stream",), str(STRANGER)),
        (("stream",), foreign["stream"]),
        (("proof",), foreign["proof"]),
        (("proof", "tip", "version"), 1),
        (("proof", "path"), []),
        (("seal",), msgspec.json.decode(seal_lines(sealed.seals)[0])),
    ]:
        with pytest.raises((ProofError, UnicodeEncodeError)):
            bent(one, *path, to=to).check(KEYS)
    # That it has none cannot be said of one that has: its own place is taken, others are elsewhere.
    for proof in (document["proof"], foreign["proof"], {"tip": None, "path": []}):
        with pytest.raises(ProofError):
            read_proof(msgspec.json.encode(document | {"events": [], "proof": proof})).check(KEYS)


async def test_the_verifier_takes_proofs(
    sealed: Sealed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, kept = tmp_path / "proof", tmp_path / "kept"
    path.write_bytes(msgspec.json.encode(await sealed.event(6)))
    kept.write_bytes(b"".join(seal_lines(sealed.seals)))
    assert main([str(path)]) == 0
    assert "compare it with" in capsys.readouterr().out
    assert main([str(path), "--key", SIGNER.key, "--seal", str(kept)]) == 0
    assert "position 6 of LEDGER is in seal 2" in capsys.readouterr().out
    kept.write_bytes(seal_lines(sealed.seals)[0])
    for words in (["--key", "0" * 64], ["--seal", str(kept)], ["--seal", str(path)]):
        assert main([str(path), *words]) == 1
    path.write_bytes(b'{"form":"crmledger.inclusion.1"}')
    assert main([str(path)]) == 1
    assert "this is no proof" in capsys.readouterr().err


async def test_an_entity_without_any_seal_or_stream(database: str) -> None:
    async with snapshot(database) as connection:
        with pytest.raises(SealError, match="has no seal"):
            await prove_entity(connection, ORGANISATION, STRANGER)


def test_files_of_seals() -> None:
    for text in (
        b"",
        b"\n",
        b"{}",
        b"\xff",
        b'{"statement":"{}","signature":"' + b"0" * 128 + b'"}',
    ):
        with pytest.raises(SealError):
            parse_seals(text)


async def test_a_seal_is_believed_by_its_very_key(sealed: Sealed) -> None:
    signed = sealed.seals[0]
    assert signed.is_signed_by(KEYS)
    assert not signed.is_signed_by({Signer(bytes(32)).key})
    forged = msgspec.structs.replace(signed.seal(), key="f" * 64)
    assert not SignedSeal(forged.statement(), signed.signature).is_signed_by({"f" * 64})
    assert await verify_output(sealed.url)
