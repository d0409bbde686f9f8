"""A small sealed ledger, what its database's owner can do to it, and what an audit says then."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import asyncpg
import msgspec

from domain.reference.records import Record
from infra.audit.bundle import Manifest
from infra.audit.errors import TamperError
from infra.audit.operations import export, verify
from infra.audit.queries import snapshot
from infra.audit.seal_builder import seal_next
from infra.audit.seal_verification import SealVerifier
from infra.audit.sealer import signer_of
from infra.audit.seals import SignedSeal, Signer, trusted_seals
from infra.postgres.pool import PooledConnection
from tests.ledgers import ORGANISATION, Connection, ask_append, record, renamed, written

__all__ = [
    "EVENTS",
    "MOST",
    "SIGNER",
    "bundle_of",
    "edited",
    "keep",
    "ledger",
    "lines",
    "restore",
    "said",
    "seal_all",
    "tampering",
]

SIGNER = signer_of("service-key-of-the-tests-0123456789")
EVENTS, MOST = 10, 4
"""Events in the ledger, and in a seal: 1 to 4, 5 to 8, 9 and 10."""
SEAL = "organisation, number, statement, signature, leaves"
ALL = (
    "ALTER TABLE ledger.events DISABLE TRIGGER USER",
    "ALTER TABLE ledger.seals DISABLE TRIGGER USER",
    "ALTER TABLE ledger.events DROP CONSTRAINT events_organisation_stream_id_version_key",
)


@asynccontextmanager
async def tampering(url: str) -> AsyncIterator[Connection]:
    """A connection of the owner's, who has put every guard of the database aside."""
    owner = await asyncpg.connect(url)
    try:
        for statement in ALL:
            await owner.execute(statement)
        yield owner
    finally:
        await owner.close()


async def keep(owner: Connection) -> None:
    """Copies events and seals away."""
    await owner.execute("CREATE TABLE kept_events AS SELECT * FROM ledger.events")
    await owner.execute(f"CREATE TABLE kept_seals AS SELECT {SEAL} FROM ledger.seals")


async def restore(owner: Connection) -> None:
    """Makes everything as it was when it was copied."""
    await owner.execute(
        "TRUNCATE ledger.events, ledger.seals;"
        "INSERT INTO ledger.events SELECT * FROM kept_events;"
        f"INSERT INTO ledger.seals ({SEAL}) SELECT * FROM kept_seals"
    )


async def seal_all(url: str, *, most: int = MOST, signer: Signer = SIGNER) -> list[SignedSeal]:
    """Seals what is not sealed."""
    lane = await PooledConnection.open(url, 60)
    made = []
    try:
        while signed := await seal_next(lane.connection, ORGANISATION, signer, most):
            made.append(signed)
    finally:
        await lane.connection.close()
    return made


async def ledger(url: str, events: int = EVENTS) -> tuple[list[Record], list[SignedSeal]]:
    """A ledger of so many events, two on each entity, all sealed."""
    owner = await asyncpg.connect(url)
    records = [record(f"R{n}") for n in range(events // 2)]
    for one in records:
        await ask_append(owner, written(one))
    for one in records:
        await ask_append(owner, written(renamed(one, "again")))
    await owner.close()
    return records, await seal_all(url)


async def said(
    url: str, outside: Iterable[SignedSeal] = (), keys: Iterable[str] = ()
) -> SealVerifier | tuple[int, str]:
    """What an audit of the database says: how far it reaches, or the first bad position and what is wrong."""
    async with snapshot(url) as connection:
        kept = trusted_seals(outside, ORGANISATION)
        try:
            return await verify(connection, ORGANISATION, {SIGNER.key, *keys}, kept)
        except TamperError as error:
            return error.position, error.kind


def lines(seals: Iterable[SignedSeal]) -> list[bytes]:
    """Seals as they are printed."""
    return [msgspec.json.encode(signed.without_leaves()) + b"\n" for signed in seals]


async def bundle_of(url: str, path: Path, first: int = 1, last: int | None = None) -> Manifest:
    """Exports a bundle."""
    async with snapshot(url) as connection:
        return await export(connection, ORGANISATION, path, first, last)


Edit = Callable[[list[bytes]], list[bytes]]


def edited(
    path: Path,
    events: Edit | None = None,
    seals: Edit | None = None,
    manifest: Mapping[str, object] | None = None,
) -> None:
    """Changes the lines of a bundle, as somebody would who then makes its manifest fit again.

    :param manifest: members of the manifest that are to be otherwise than they should.
    """
    with ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    told = msgspec.json.decode(members["manifest.json"])
    for name, edit in (("events", events), ("seals", seals)):
        lines = members[f"{name}.ndjson"].splitlines(keepends=True)
        lines = edit(lines) if edit else lines
        members[f"{name}.ndjson"] = b"".join(lines)
        told[f"{name}_sha256"] = sha256(b"".join(lines)).hexdigest()
        told["events" if name == "events" else name] = len(lines)
    members["manifest.json"] = msgspec.json.encode(told | dict(manifest or {}))
    with ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(ZipInfo(name), content)
