"""``crmledger audit``: seals, proofs and bundles."""

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
from infra.audit.sealer import signer_of, trusted_keys
from infra.audit.seals import SealError, SignedSeal, parse_seals, trusted_seals
from infra.cli.runtime import database, prepare_schema
from infra.cli.terminal import err, exit_with, out, progress
from infra.encryption import KeyRing
from infra.ledger.feed import LedgerCorruptedError
from infra.ledger.positions import head_positions
from infra.postgres.pool import PooledConnection
from infra.settings import Settings
from services.ids import record_stream_id

__all__ = ["audit"]

audit = App(name="audit", help="Seals: proof that a ledger was not changed.")

Checkpoints = Annotated[
    list[Path] | None,
    Parameter(
        name="--seal", help="A trusted checkpoint: a file of seals stored outside the database."
    ),
]
Keys = Annotated[
    list[str] | None,
    Parameter(
        name="--key", help="A further trusted public key, such as that of a previous service key."
    ),
]
SECONDS = 600.0
"""Timeout of a statement: the first seal of a long ledger reads all of it."""


@asynccontextmanager
async def _ready() -> AsyncIterator[tuple[Settings, str]]:
    """The settings, and the URL of a database with this program's schema."""
    settings = Settings.from_environment()
    async with database(settings) as url:
        await prepare_schema(url, own=settings.embedded)
        yield settings, url


@contextmanager
def _exit_on_error() -> Iterator[None]:
    """Print an error as one line and exit with status 1."""
    try:
        yield
    except (TamperError, SealError, LedgerCorruptedError, OSError) as error:
        exit_with(error)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar of events; yields the function that advances it."""
    with progress() as bar:
        task = bar.add_task("events", total=max(total, 1))
        yield lambda count: bar.advance(task, count)


def _print(document: msgspec.Struct) -> None:
    out.print_document(msgspec.json.encode(document))


@audit.command(name="public-key")
async def public_key() -> None:
    """Print the public key that verifies the seals of this service key."""
    out.print_line(signer_of(Settings.from_environment().service_key).key)


@audit.command
async def seal(
    organisation: str | None = None,
    *,
    every: Annotated[
        bool, Parameter(name="--all", help="Print every seal, not only the last.")
    ] = False,
) -> None:
    """Seal all events now, and print the last seal of each ledger.

    Store it where the owner of the database cannot write: it is a trusted checkpoint.
    """
    with _exit_on_error():
        async with _ready() as (settings, url):
            organisations = await _seal(url, settings, organisation)
            async with snapshot(url) as connection:
                for id_ in organisations:
                    if every:
                        async for signed in seals(connection, id_):
                            _print(signed.without_leaves())
                    elif (last := await last_seal(connection, id_)) is not None:
                        _print(last)


async def _seal(url: str, settings: Settings, organisation: str | None) -> list[str]:
    """Seal one ledger or all. Return the ids of their organisations."""
    signer, ring = signer_of(settings.service_key), KeyRing(*settings.service_keys)
    lane = await PooledConnection.open(url, SECONDS)
    try:
        organisations = await _organisations(lane.connection, organisation)
        for id_ in organisations:
            while await seal_next(lane.connection, id_, signer, ring):
                pass
    finally:
        await lane.connection.close()
    return organisations


async def _organisations(connection: Connection, name: str | None) -> list[str]:
    """The id of the organisation with this name or id, or of all with events or seals."""
    if name is not None:
        return [await organisation_id(connection, name)]
    return sorted({*await head_positions(connection), *await sealed_organisations(connection)})


@audit.command(name="verify")
async def verify_(
    organisation: str | None = None, *, checkpoints: Checkpoints = None, keys: Keys = None
) -> None:
    """Recompute every hash, compare with the seals, and print the first bad position of each ledger.

    Exits with 1 if there is one. No hash that the database stores is trusted.
    """
    with _exit_on_error():
        stored = [s for path in checkpoints or () for s in parse_seals(path.read_bytes())]
        async with _ready() as (settings, url), snapshot(url) as connection:
            trusted = trusted_keys(settings) | {*(keys or ())}
            organisations = set(await _organisations(connection, organisation))
            if organisation is None:
                organisations |= {signed.seal().organisation for signed in stored}
            sound = await _verify(connection, sorted(organisations), trusted, stored)
    if not sound:
        sys.exit(1)


async def _verify(
    connection: Connection, organisations: list[str], keys: set[str], stored: list[SignedSeal]
) -> bool:
    """Verify ledgers and print the results. Return True if all are sound."""
    heads = await head_positions(connection)
    problems, results = [], []
    with _bar(sum(heads.get(id_, 0) for id_ in organisations)) as advance:
        for id_ in organisations:
            try:
                checkpoints = trusted_seals(stored, id_)
                verifier = await verify(connection, id_, keys, checkpoints, advance)
                results.append(f"{id_}: {_result(verifier, checkpoints)}")
            except TamperError as error:
                problems.append(f"{id_}: {error}")
    for line in results:
        out.print_line(line)
    for line in problems:
        err.print_line(line, style="red")
    return not problems


def _result(verifier: SealVerifier, checkpoints: dict[int, SignedSeal]) -> str:
    unsealed = verifier.position - verifier.sealed
    counts = f"{verifier.position:,} events verified, {verifier.seals:,} seals, {unsealed:,} unsealed events"
    if not checkpoints:
        return f"{counts}; without a trusted checkpoint a cut tail cannot be detected"
    upto = max(signed.seal().last for signed in checkpoints.values())
    return f"{counts}; nothing cut or rewritten up to {upto:,}"


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
    """Write a bundle that `crmledger-verify` verifies without a database; extended to whole seals."""
    with _exit_on_error():
        async with _ready() as (_, url), snapshot(url) as connection:
            id_ = await organisation_id(connection, organisation)
            with _bar((await head_positions(connection)).get(id_, 0)) as advance:
                manifest = await export(connection, id_, file, from_, to, advance)
    out.print_line(
        f"{file}: {manifest.events:,} events, positions {manifest.first:,} to {manifest.last:,}, "
        f"{manifest.seals:,} seals"
    )


@audit.command(name="prove")
async def prove_(organisation: str, position: int) -> None:
    """Print the proof that an event is in the sealed ledger, for `crmledger-verify`."""
    with _exit_on_error():
        async with _ready() as (_, url), snapshot(url) as connection:
            _print(
                await prove(connection, await organisation_id(connection, organisation), position)
            )


@audit.command(name="prove-entity")
async def prove_entity_(organisation: str, id_: str) -> None:
    """Print an entity's events and the proof that they are complete, for `crmledger-verify`.

    Parameters
    ----------
    id_
        The entity's id; for a registered record kind/id.
    """
    with _exit_on_error():
        async with _ready() as (_, url), snapshot(url) as connection:
            tenant = await organisation_id(connection, organisation)
            _print(await prove_entity(connection, tenant, _stream(tenant, id_)))


def _stream(organisation: str, id_: str) -> UUID:
    kind, slash, record = id_.partition("/")
    if slash:
        return record_stream_id(organisation, kind, record)
    try:
        return UUID(id_)
    except ValueError:
        raise SealError(f"{id_} is neither an entity's id nor kind/id of a record") from None
