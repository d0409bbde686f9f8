"""The operations of ``crmledger audit`` on the ledgers of a database: verify, export, prove."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from uuid import UUID

from infra.audit.bundle import Manifest, create_bundle
from infra.audit.event_record import EventRecord
from infra.audit.merkle import inclusion_proof
from infra.audit.proofs import CompletenessProof, InclusionProof
from infra.audit.queries import (
    Connection,
    events,
    last_seal,
    path_to,
    sealed_bounds,
    seals,
    stream_events,
)
from infra.audit.seal_verification import SealVerifier
from infra.audit.seals import SealError, SignedSeal
from infra.audit.stream_tree import StreamHead, completeness_proof

__all__ = ["export", "prove", "prove_entity", "verify"]

Advance = Callable[[int], None]


async def verify(
    connection: Connection,
    organisation: str,
    keys: Collection[str],
    outside: Mapping[int, SignedSeal],
    advance: Advance = lambda _: None,
) -> SealVerifier:
    """Verify a ledger against its seals, including events without a seal; return the finished verifier.

    :param connection: a snapshot.
    :param keys: the trusted public keys.
    :param outside: seals of the organisation that were kept elsewhere, by number.
    :param advance: is called with the number of events verified since the last call.
    :raises TamperError: for the first position that is not as it should be.
    """
    verifier = SealVerifier(organisation, keys, outside)
    rows = events(connection, organisation)
    async for signed in seals(connection, organisation):
        verifier.seal(signed)
        while verifier.remaining and (row := await anext(rows, None)) is not None:
            verifier.event(*row)
            advance(1)
        verifier.close()
    async for row in rows:
        verifier.event(*row)
        advance(1)
    verifier.finish()
    return verifier


async def export(
    connection: Connection,
    organisation: str,
    path: Path,
    first: int = 1,
    last: int | None = None,
    advance: Advance = lambda _: None,
) -> Manifest:
    """Write a bundle of the sealed events between two positions, widened to whole seals.

    The same range gives the same bytes. Return the manifest. Raises `SealError` if there is no seal.
    """
    bounds = await sealed_bounds(connection, organisation, first, last)
    if bounds is None:
        raise SealError(f"{organisation} has no seal there: run `crmledger audit seal`")
    first, last = bounds
    with create_bundle(path) as bundle:
        with bundle.events() as event_member:
            async for event, _ in events(connection, organisation, first, last):
                event_member.write(EventRecord.of(event))
                advance(1)
        with bundle.seals() as seal_member:
            async for signed in seals(connection, organisation, first, last):
                seal_member.write(signed)
        manifest = Manifest(
            organisation=organisation,
            first=first,
            last=last,
            events=event_member.count,
            seals=seal_member.count,
            events_sha256=event_member.sha256,
            seals_sha256=seal_member.sha256,
            key=signed.seal().key,
            build=f"crmledger {version('crmledger')}",
        )
        bundle.manifest(manifest)
    return manifest


async def prove(connection: Connection, organisation: str, position: int) -> InclusionProof:
    """Return the proof that an event is in its seal. Raises `SealError` if it is not sealed."""
    signed = await anext(seals(connection, organisation, position, position), None)
    row = await anext(events(connection, organisation, position, position), None)
    if signed is None or row is None:
        raise SealError(f"position {position} of {organisation} is not sealed")
    leaves = signed.leaves
    hashes = [leaves[at : at + 32] for at in range(0, len(leaves), 32)]
    path = inclusion_proof(hashes, position - signed.seal().first)
    return InclusionProof(event=EventRecord.of(row[0]), path=path, seal=signed.without_leaves())


async def prove_entity(
    connection: Connection, organisation: str, stream: UUID
) -> CompletenessProof:
    """Return the proof that an entity's events up to the last seal are complete, or that it has none.

    Raises `SealError` if the organisation has no seal.
    """
    signed = await last_seal(connection, organisation)
    if signed is None:
        raise SealError(f"{organisation} has no seal")
    last = signed.seal().last
    records = [
        EventRecord.of(event)
        for event in await stream_events(connection, organisation, stream, last)
    ]
    streams = await path_to(connection, organisation, StreamHead(stream))
    proof = completeness_proof(streams, stream)
    return CompletenessProof(stream=stream, events=records, proof=proof, seal=signed)
