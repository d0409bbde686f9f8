"""Verifies a bundle by itself: no database, no network; in memory is only the head of each stream."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

from infra.audit.bundle import Bundle, BundleError, Manifest
from infra.audit.errors import TamperError, TamperKind
from infra.audit.event_record import EventRecord
from infra.audit.seal_verification import SealVerifier
from infra.audit.seals import SealError, SignedSeal
from infra.ledger.stored_event import StoredEvent

__all__ = ["check_bundle"]

T = TypeVar("T")


def check_bundle(
    bundle: Bundle,
    keys: Collection[str],
    outside: Mapping[int, SignedSeal],
    advance: Callable[[int], None] = lambda _: None,
) -> SealVerifier:
    """Verify every event and seal of a bundle, and its manifest; return the finished verifier.

    :param keys: the trusted public keys.
    :param outside: seals of the bundle's organisation that were kept elsewhere, by number.
    :param advance: is called with the number of events verified since the last call.
    :raises TamperError: for the first position that is not as it was sealed.
    :raises BundleError: the manifest does not describe the content.
    :raises SealError: an outside seal precedes the bundle, and so proves nothing about it.
    """
    lines, seals = bundle.events.read(EventRecord), bundle.seals.read(SignedSeal)
    signed = _read_next(seals, bundle.manifest.first, "rewritten")
    verifier = _start(bundle.manifest, keys, outside, signed)
    while signed is not None:
        verifier.seal(signed)
        before, last = verifier.position, signed
        while (
            verifier.remaining and (event := _read_event(lines, verifier.position + 1)) is not None
        ):
            verifier.event(event)
        verifier.close()
        advance(verifier.position - before)
        signed = _read_next(seals, verifier.position + 1, "rewritten")
    surplus = _read_event(lines, verifier.position + 1)
    if surplus is not None:
        reason = f"{surplus.position} stands after the last seal"
        raise TamperError(verifier.position + 1, "inserted", reason)
    verifier.finish()
    _check_manifest(bundle, verifier, last)
    return verifier


def _start(
    manifest: Manifest,
    keys: Collection[str],
    outside: Mapping[int, SignedSeal],
    signed: SignedSeal | None,
) -> SealVerifier:
    if signed is None:
        raise TamperError(manifest.first, "cut", "there are no seals")
    try:
        first = signed.seal()
    except SealError as error:
        raise TamperError(manifest.first, "rewritten", str(error)) from None
    for number in outside:
        if manifest.first > 1 and number < first.number - 1:
            reason = f"the trusted checkpoint is seal {number}, and the bundle begins with seal {first.number}"
            raise SealError(reason)
    first_seal = first if manifest.first > 1 and first.number > 1 else None
    return SealVerifier(manifest.organisation, keys, outside, first_seal)


def _read_next(lines: Iterator[T], position: int, kind: TamperKind) -> T | None:
    try:
        return next(lines, None)
    except BundleError as error:
        raise TamperError(position, kind, str(error)) from None


def _read_event(lines: Iterator[EventRecord], position: int) -> StoredEvent | None:
    line = _read_next(lines, position, "changed")
    try:
        return line.event() if line is not None else None
    except ValueError as error:
        raise TamperError(position, "changed", str(error)) from None


def _check_manifest(bundle: Bundle, verifier: SealVerifier, last: SignedSeal) -> None:
    manifest, count = bundle.manifest, bundle.events.count
    actual = {
        "first": verifier.position - count + 1,
        "last": verifier.position,
        "events": count,
        "seals": bundle.seals.count,
        "events_sha256": bundle.events.sha256,
        "seals_sha256": bundle.seals.sha256,
        "key": last.seal().key,
    }
    for name, value in actual.items():
        if getattr(manifest, name) != value:
            raise BundleError(f"manifest.json: {name} is not {value}, as the bundle has it")
