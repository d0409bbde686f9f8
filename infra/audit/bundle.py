"""Bundles: files for auditors that hold everything that `crmledger-verify` needs.

A bundle is a zip archive of three uncompressed members, so that the same events and seals give the
same bytes everywhere: ``events.ndjson`` (`EventRecord`), ``seals.ndjson`` (`SignedSeal`), ``manifest.json``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, Annotated, Literal, TypeVar

import msgspec

from infra.audit.event_record import EventRecord
from infra.audit.seals import Count, Digest, SignedSeal
from infra.private_files import PRIVATE, replace_privately

__all__ = ["Bundle", "BundleError", "Manifest", "Member", "create_bundle", "open_bundle"]

EVENTS, SEALS, MANIFEST = "events.ndjson", "seals.ndjson", "manifest.json"
MAX_LINE = 64 * 1024 * 1024
"""The most bytes of a line."""

L = TypeVar("L", EventRecord, SignedSeal)


class BundleError(ValueError):
    """A file is not a bundle, or a line of it cannot be read."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The description of a bundle's content."""

    form: Literal["crmledger.bundle.1"] = "crmledger.bundle.1"
    organisation: str
    first: Count
    """The first position of the bundle; ``first`` and ``last`` are bounds of seals."""
    last: Count
    events: Annotated[int, msgspec.Meta(ge=0)]
    """The number of events; ``seals`` is that of the seals."""
    seals: Annotated[int, msgspec.Meta(ge=0)]
    events_sha256: Digest
    """The digest of the member ``events.ndjson``; ``seals_sha256`` is that of ``seals.ndjson``."""
    seals_sha256: Digest
    key: Digest
    """The Ed25519 public key of the last seal."""
    build: str
    """The program that wrote the bundle."""


class Member:
    """Lines of JSON that are counted and hashed as they are written or read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = sha256()
        self.count = 0

    @property
    def sha256(self) -> str:
        """The digest of all lines so far, in hex."""
        return self._digest.hexdigest()

    def write(self, line: msgspec.Struct) -> None:
        """Write one line."""
        text = msgspec.json.encode(line) + b"\n"
        self._file.write(text)
        self._count(text)

    def read(self, kind: type[L]) -> Iterator[L]:
        """Yield the remaining lines. Raises `BundleError` for one that cannot be read."""
        decoder = msgspec.json.Decoder(kind)
        while text := self._file.readline(MAX_LINE):
            self._count(text)
            try:
                yield decoder.decode(text)
            except (msgspec.MsgspecError, ValueError) as error:
                raise BundleError(f"line {self.count} cannot be read: {error}") from None

    def _count(self, text: bytes) -> None:
        self._digest.update(text)
        self.count += 1


class BundleWriter:
    """A bundle that is being written: events, then seals, then the manifest."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    @contextmanager
    def events(self) -> Iterator[Member]:
        """Open the member of the events for writing."""
        with self._archive.open(_member_info(EVENTS), "w", force_zip64=True) as file:
            yield Member(file)

    @contextmanager
    def seals(self) -> Iterator[Member]:
        """Open the member of the seals for writing."""
        with self._archive.open(_member_info(SEALS), "w", force_zip64=True) as file:
            yield Member(file)

    def manifest(self, manifest: Manifest) -> None:
        """Write the manifest."""
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
        self._archive.writestr(_member_info(MANIFEST), text + b"\n")


class Bundle:
    """A bundle that is being read; at most one line of each member is in memory."""

    def __init__(self, manifest: Manifest, events: Member, seals: Member) -> None:
        self.manifest = manifest
        self.events = events
        self.seals = seals


@contextmanager
def create_bundle(path: Path) -> Iterator[BundleWriter]:
    """Create a bundle to write; it is moved to ``path`` once it is complete."""
    with (
        replace_privately(path) as draft,
        zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive,
    ):
        yield BundleWriter(archive)


@contextmanager
def open_bundle(path: Path) -> Iterator[Bundle]:
    """Open a bundle. Raises `BundleError` for a file that is not one, also while it is being read."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            manifest = msgspec.json.decode(archive.read(MANIFEST), type=Manifest)
            with archive.open(EVENTS) as events, archive.open(SEALS) as seals:
                yield Bundle(manifest, Member(events), Member(seals))
    except (zipfile.BadZipFile, msgspec.MsgspecError, EOFError, NotImplementedError) as error:
        raise BundleError(f"{path} is no bundle: {error}") from None


def _check_members(archive: zipfile.ZipFile) -> None:
    names = [info.filename for info in archive.infolist()]
    if names != [EVENTS, SEALS, MANIFEST]:
        raise zipfile.BadZipFile(f"its members are {', '.join(names) or 'none'}")
    for info in archive.infolist():
        # A compressed member may expand to any size.
        if info.compress_type != zipfile.ZIP_STORED:
            raise zipfile.BadZipFile(f"{info.filename} is compressed")
    if archive.getinfo(MANIFEST).file_size > MAX_LINE:
        raise zipfile.BadZipFile(f"{MANIFEST} is too long")


def _member_info(name: str) -> zipfile.ZipInfo:
    """Return the header of a member, independent of machine and time."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.create_system = 3
    info.external_attr = PRIVATE << 16
    return info
