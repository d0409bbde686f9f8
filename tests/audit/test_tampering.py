"""Fault 33: whatever the owner of the database does to a sealed ledger, an audit names the place.

Each deed is done in the database and checked there, exported and checked from the bundle alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from infra.audit.errors import TamperError
from infra.audit.seal_verification import SealVerifier
from infra.audit.seals import SealError, SignedSeal, Signer
from infra.audit.verifier import main
from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import audit as world
from tests.fixtures import databases
from tests.fixtures.audit import EVENTS, ledger, renew_macs, seal_all, tampering, verify_output
from tests.fixtures.ledgers import ORGANISATION, Connection, call_append, commit_of, record

REHASH = """
UPDATE ledger.events
   SET event_hash = ledger.event_hash(organisation, position, stream_id, version, topic, schema_version,
                                      subject, payload::text, metadata::text, recorded_at)
"""
CHANGE = "UPDATE ledger.events SET payload = '{}' WHERE position = {at}"
DELETE = "DELETE FROM ledger.events WHERE position = {at}"
CUT = "DELETE FROM ledger.events WHERE position >= {at}"
# In two steps, since no two may have one position even for a moment.
DOWN = """
UPDATE ledger.events SET position = 1 - position WHERE position > {at};
UPDATE ledger.events SET position = -position WHERE position < 0
"""
UP = """
UPDATE ledger.events SET position = -position - 1 WHERE position >= {at};
UPDATE ledger.events SET position = -position WHERE position < 0
"""
FORGE = """
INSERT INTO ledger.events
SELECT organisation, {at}, gen_random_uuid(), 1, topic, schema_version, subject, payload, metadata, recorded_at, event_hash, mac
  FROM ledger.events WHERE position = {at} + 1
"""
SWAP = """
UPDATE ledger.events SET position = -position WHERE position IN ({at}, {at} + 2);
UPDATE ledger.events SET position = 2 * {at} + 2 + position WHERE position < 0
"""
REWRITE = 'UPDATE ledger.events SET metadata = \'{"user":"nobody"}\''
LEAVES = """
UPDATE ledger.seals s
   SET leaves = (SELECT string_agg(e.event_hash, ''::bytea ORDER BY position) FROM ledger.events e
                  WHERE e.position BETWEEN s.first_position AND s.last_position)
"""
FORGOTTEN = "DELETE FROM ledger.seal_tree_heads; DELETE FROM ledger.seal_tree_nodes; DELETE FROM ledger.seals"


@dataclass(frozen=True)
class Forgery:
    """What is done from a position on, and what it is called; ``seen_at`` is where it is seen."""

    name: str
    steps: tuple[str, ...]
    at: int
    kind: str
    seen_at: int = 0

    def __str__(self) -> str:
        return self.name

    async def do(self, owner: Connection) -> None:
        for step in self.steps:
            await owner.execute(step.replace("{at}", str(self.at)))


DEEDS = [
    Forgery("change", (CHANGE,), 3, "changed"),
    Forgery("change and hash anew", (CHANGE, REHASH), 6, "changed"),
    Forgery("change the hash", ("UPDATE ledger.events SET event_hash = '' WHERE position = {at}",), 3, "changed"),
    Forgery("change the time", ("UPDATE ledger.events SET recorded_at = now() + interval '1 day' WHERE position = {at}", REHASH), 3, "changed"),
    Forgery("change the last", (CHANGE, REHASH), EVENTS, "changed"),
    Forgery("delete", (DELETE,), 3, "missing"),
    Forgery("delete the first", (DELETE,), 1, "missing"),
    Forgery("delete the last of a seal", (DELETE,), 4, "missing"),
    Forgery("delete and close the gap", (DELETE, DOWN, REHASH), 3, "missing"),
    Forgery("insert", (UP, FORGE, REHASH), 3, "inserted"),
    Forgery("insert the first", (UP, FORGE, REHASH), 1, "inserted"),
    Forgery("insert before the first", (FORGE.replace("{at} + 1", "1"),), 0, "inserted", seen_at=1),
    Forgery("swap", (SWAP,), 2, "reordered"),
    Forgery("swap and hash anew", (SWAP, REHASH), 5, "reordered"),
    Forgery("cut the tail", (CUT,), 7, "cut"),
    Forgery("cut everything", (CUT,), 1, "cut"),
    Forgery("rewrite all and hash anew", (REWRITE, REHASH), 1, "changed"),
    Forgery("rewrite all, and the hashes kept with the seals", (REWRITE, REHASH, LEAVES), 1, "rewritten"),
    Forgery("change, and the hashes kept with the seals", (CHANGE, REHASH, LEAVES), 6, "rewritten", seen_at=5),
    Forgery("change kept hashes", ("UPDATE ledger.seals SET leaves = set_byte(leaves, 0, 255 - get_byte(leaves, 0)) WHERE number = 2",), 5, "rewritten"),
    Forgery("change a statement", ("""UPDATE ledger.seals SET statement = replace(statement::text, '"former":"0', '"former":"1')::json WHERE number = 1""",), 1, "rewritten"),
    Forgery("spaces in a statement", ("UPDATE ledger.seals SET statement = (statement::text || ' ')::json WHERE number = 1",), 1, "rewritten"),
    Forgery("exchange signatures", ("UPDATE ledger.seals SET signature = (SELECT signature FROM ledger.seals WHERE number = 1)",), 5, "rewritten"),
    Forgery("delete a seal", ("DELETE FROM ledger.seals WHERE number = 2",), 5, "missing"),
    Forgery("delete the first seal", ("DELETE FROM ledger.seals WHERE number = 1",), 1, "missing"),
]  # fmt: skip


@pytest_asyncio.fixture(scope="module")
async def owner(postgres: EmbeddedPostgres, template: str) -> AsyncIterator[tuple[Connection, str]]:
    """A sealed ledger that every test finds as it was, and its owner."""
    async with databases.database(postgres, template) as url:
        await ledger(url)
        async with tampering(url) as owner:
            await world.save_ledger(owner)
            yield owner, url


NOT_IN_A_BUNDLE = {"change the hash", "insert before the first", "delete the first seal"}
"""A bundle has no stored hashes, no positions below 1, and may begin with any seal."""


@pytest.mark.parametrize("deed", DEEDS, ids=str)
async def test_it_is_named_by_the_seals_inside(
    owner: tuple[Connection, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], deed: Forgery
) -> None:
    connection, url = owner
    await world.restore_ledger(connection)
    assert isinstance(await verify_output(url), SealVerifier)
    await deed.do(connection)
    assert await verify_output(url) == (deed.seen_at or deed.at, deed.kind)
    await world.bundle_of(url, tmp_path / "bundle")
    if deed.name not in NOT_IN_A_BUNDLE:
        assert main([str(tmp_path / "bundle")]) == 1
        assert f"position {deed.seen_at or deed.at}: {deed.kind}" in capsys.readouterr().err


async def test_what_is_sealed_anew_is_named_by_a_seal_outside(
    database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever has the database and the key can make everything fit again, but not to what was kept."""
    _, seals = await ledger(database)
    kept = tmp_path / "kept"
    async with tampering(database) as owner:
        await owner.execute("CREATE TABLE rest AS SELECT * FROM ledger.events WHERE position > 6")
        for steps, outside, at, kind in [
            (("DELETE FROM ledger.seals WHERE number > 1",), seals[1:2], 5, "cut"),
            ((CUT.replace("{at}", "7"),), seals[1:2], 7, "cut"),
            ((CHANGE.replace("{at}", "6"), REHASH), seals, 5, "rewritten"),
            ((REWRITE, REHASH), seals, 1, "rewritten"),
        ]:
            for step in steps:
                await owner.execute(step)
            if kind == "rewritten":
                await owner.execute(FORGOTTEN)
                await owner.execute(
                    "INSERT INTO ledger.events SELECT * FROM rest ON CONFLICT DO NOTHING"
                )
                await renew_macs(database)
                await seal_all(database)
            inside = await verify_output(database)
            assert isinstance(inside, SealVerifier), "nothing inside shows it"
            assert await verify_output(database, outside) == (at, kind)
            kept.write_bytes(b"".join(world.seal_lines(outside)))
            await world.bundle_of(database, tmp_path / "bundle")
            assert main([str(tmp_path / "bundle")]) == 0
            assert main([str(tmp_path / "bundle"), "--seal", str(kept)]) == 1
            assert f"{kind}: seal" in capsys.readouterr().err


async def test_seals_of_another_key_are_not_believed(database: str) -> None:
    await ledger(database)
    async with tampering(database) as owner:
        await owner.execute(FORGOTTEN)
        await world.seal_all(database, signer=Signer(bytes(32)))
    assert await verify_output(database) == (1, "rewritten")
    found = await verify_output(database, keys={Signer(bytes(32)).key})
    assert isinstance(found, SealVerifier)


async def test_events_without_a_seal_are_checked_as_far_as_that_goes(database: str) -> None:
    await ledger(database)
    async with tampering(database) as owner:
        await call_append(owner, commit_of(record()), commit_of(record()))
        found = await verify_output(database)
        assert isinstance(found, SealVerifier)
        assert (found.position, found.sealed, found.seals) == (EVENTS + 2, EVENTS, 3)
        await owner.execute("CREATE TABLE kept AS SELECT * FROM ledger.events WHERE position > 10")
        for damage, said_ in [
            ("DELETE FROM ledger.events WHERE position = 11", (11, "missing")),
            ("UPDATE ledger.events SET payload = '1' WHERE position = 12", (12, "changed")),
            (
                f"UPDATE ledger.events SET version = 2 WHERE position = 11; {REHASH}",
                (11, "changed"),
            ),
            (
                f"UPDATE ledger.events SET recorded_at = '2001-01-01' WHERE position = 12; {REHASH}",
                (12, "changed"),
            ),
        ]:
            await owner.execute(damage)
            assert await verify_output(database) == said_
            await owner.execute("DELETE FROM ledger.events WHERE position > 10")
            await owner.execute("INSERT INTO ledger.events SELECT * FROM kept")


async def test_seals_outside_must_agree(database: str) -> None:
    _, seals = await ledger(database)
    other = Signer(bytes(32)).sign(seals[0].seal(), b"")
    contradicting = SignedSeal(other.statement.replace('"last":4', '"last":3'), other.signature)
    with pytest.raises(SealError, match="two trusted checkpoints"):
        await verify_output(database, [seals[0], contradicting])
    assert isinstance(await verify_output(database, seals), SealVerifier)
    assert str(TamperError(3, "cut", "so")) == "position 3: cut: so"
    assert seals[0].seal().organisation == ORGANISATION
