"""``crmledger audit``: seals, and what they prove."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import msgspec
from cyclopts import App, Parameter

from infra.audit.errors import TamperError
from infra.audit.operations import export, prove, prove_entity, verify
from infra.audit.queries import (
    Connection,
    last_seal,
    organisation_id,
    sealed_organisations,
    seals,
    snapshot,
)
from infra.audit.seal_builder import seal_next
from infra.audit.seal_verification import SealVerifier
from infra.audit.sealer import signer_of
from infra.audit.seals import SealError, SignedSeal, Signer, parse_seals, trusted_seals
from infra.cli.runtime import database, err, out, prepare_schema, progress
from infra.ledger.feed import LedgerCorruptedError
from infra.ledger.positions import head_positions
from infra.postgres.pool import PooledConnection
from infra.settings import Settings
from services.ids import record_stream_id

__all__ = ["audit"]

audit = App(name="audit", help="Seals: what proves that a ledger was not changed.")

Outside = Annotated[
    list[Path] | None, Parameter(name="--seal", help="A file of seals that were kept elsewhere.")
]
Keys = Annotated[
    list[str] | None,
    Parameter(name="--key", help="A further public key to believe, as of a former service key."),
]
SECONDS = 600.0
"""For a statement: a first seal may have to wait for nothing but the disk."""


@asynccontextmanager
async def _ready() -> AsyncIterator[tuple[Settings, str]]:
    """A database at this program's schema."""
    settings = Settings.from_environment()
    async with database(settings) as url:
        await prepare_schema(url, own=settings.embedded)
        yield settings, url


@contextmanager
def _findings() -> Iterator[None]:
    """One line and exit status 1 for what is wrong."""
    try:
        yield
    except (TamperError, SealError, LedgerCorruptedError, OSError) as error:
        err.print(f"crmledger: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar of events, and what moves it."""
    with progress() as bar:
        task = bar.add_task("events", total=max(total, 1))
        yield lambda count: bar.advance(task, count)


def _print(line: msgspec.Struct) -> None:
    out.file.write(msgspec.json.encode(line).decode() + "\n")


@audit.command
async def key() -> None:
    """Prints the public key that this service key's seals are signed with."""
    out.print(signer_of(Settings.from_environment().service_key).key, highlight=False)


@audit.command
async def seal(
    organisation: str | None = None,
    *,
    every: Annotated[bool, Parameter(name="--all", help="Print every seal, not the last.")] = False,
) -> None:
    """Seals all events now, and prints each ledger's last seal: keep it where the database's owner cannot."""
    with _findings():
        async with _ready() as (settings, url):
            wanted = await _sealed(url, signer_of(settings.service_key), organisation)
            async with snapshot(url) as connection:
                for each in wanted:
                    if every:
                        async for signed in seals(connection, each):
                            _print(signed.without_leaves())
                    elif (last := await last_seal(connection, each)) is not None:
                        _print(last)


async def _sealed(url: str, signer: Signer, organisation: str | None) -> list[str]:
    """Seals one ledger or all: whose they are."""
    lane = await PooledConnection.open(url, SECONDS)
    try:
        wanted = await _organisations(lane.connection, organisation)
        for each in wanted:
            while await seal_next(lane.connection, each, signer):
                pass
    finally:
        await lane.connection.close()
    return wanted


async def _organisations(connection: Connection, name: str | None) -> list[str]:
    """The one of a name or id, or all that have events or seals."""
    if name is not None:
        return [await organisation_id(connection, name)]
    return sorted({*await head_positions(connection), *await sealed_organisations(connection)})


@audit.command(name="verify")
async def verify_(
    organisation: str | None = None, *, outside: Outside = None, keys: Keys = None
) -> None:
    """Computes every hash anew and compares with the seals; names the first bad position of each ledger.

    Exits with 1 if there is one. Nothing that the database says is believed.
    """
    with _findings():
        kept = [s for path in outside or () for s in parse_seals(path.read_bytes())]
        async with _ready() as (settings, url), snapshot(url) as connection:
            believed = {signer_of(settings.service_key).key, *(keys or ())}
            wanted = set(await _organisations(connection, organisation))
            if organisation is None:
                wanted |= {signed.seal().organisation for signed in kept}
            found = await _verify(connection, sorted(wanted), believed, kept)
    if found:
        sys.exit(1)


async def _verify(
    connection: Connection, wanted: list[str], keys: set[str], kept: list[SignedSeal]
) -> bool:
    """Whether anything is wrong."""
    known = await head_positions(connection)
    faults, lines = [], []
    with _bar(sum(known.get(each, 0) for each in wanted)) as advance:
        for each in wanted:
            try:
                outside = trusted_seals(kept, each)
                check = await verify(connection, each, keys, outside, advance)
                lines.append(f"{each}: {_reach(check, outside)}")
            except TamperError as error:
                faults.append(f"{each}: {error}")
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    for fault in faults:
        err.print(fault, style="red", markup=False, highlight=False, soft_wrap=True)
    return bool(faults)


def _reach(check: SealVerifier, outside: dict[int, SignedSeal]) -> str:
    unsealed = check.position - check.sealed
    said = f"{check.position:,} events are whole, {check.seals:,} seals, {unsealed:,} events not sealed yet"
    if not outside:
        return f"{said}; without an outside seal a cut tail cannot be seen"
    return (
        f"{said}; nothing cut or rewritten up to {max(s.seal().last for s in outside.values()):,}"
    )


@audit.command(name="export")
async def export_(
    organisation: str,
    file: Path,
    *,
    from_: Annotated[int, Parameter(name="--from", help="The first position.")] = 1,
    to: Annotated[
        int | None, Parameter(help="The last position; by default the last sealed.")
    ] = None,
) -> None:
    """Writes a bundle that `crmledger-verify` checks without a database; widened to whole seals."""
    with _findings():
        async with _ready() as (_, url), snapshot(url) as connection:
            id_ = await organisation_id(connection, organisation)
            with _bar((await head_positions(connection)).get(id_, 0)) as advance:
                manifest = await export(connection, id_, file, from_, to, advance)
    out.print(
        f"{file}: {manifest.events:,} events, positions {manifest.first:,} to {manifest.last:,}, "
        f"{manifest.seals:,} seals",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


@audit.command(name="prove")
async def prove_(organisation: str, position: int) -> None:
    """Prints the proof that an event is in the sealed ledger, for `crmledger-verify`."""
    with _findings():
        async with _ready() as (_, url), snapshot(url) as connection:
            _print(
                await prove(connection, await organisation_id(connection, organisation), position)
            )


@audit.command(name="prove-entity")
async def prove_entity_(organisation: str, id_: str) -> None:
    """Prints an entity's events and the proof that they are all, for `crmledger-verify`.

    Parameters
    ----------
    id_
        The entity's id; of a registered record, its kind, a slash and its id.
    """
    with _findings():
        async with _ready() as (_, url), snapshot(url) as connection:
            owner = await organisation_id(connection, organisation)
            _print(await prove_entity(connection, owner, _stream(owner, id_)))


def _stream(organisation: str, id_: str) -> UUID:
    kind, slash, record = id_.partition("/")
    if slash:
        return record_stream_id(organisation, kind, record)
    try:
        return UUID(id_)
    except ValueError:
        raise SealError(f"{id_} is neither an entity's id nor kind/id of a record") from None
