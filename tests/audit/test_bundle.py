"""Bundles: the same bytes for the same events, checked alone, every edit named."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from infra.audit.bundle import BundleError, create_bundle, open_bundle
from infra.audit.seals import SealError, SignedSeal, Signer
from infra.audit.verifier import main
from infra.postgres.embedded.server import EmbeddedPostgres
from tests.fixtures import databases
from tests.fixtures.audit import EVENTS, SIGNER, bundle_of, edit_bundle, ledger, seal_lines
from tests.fixtures.service import ROOT

Lines = list[bytes]


@pytest_asyncio.fixture(scope="module")
async def sealed(
    postgres: EmbeddedPostgres, template: str
) -> AsyncIterator[tuple[str, list[SignedSeal]]]:
    """A sealed ledger that nobody changes."""
    async with databases.database(postgres, template) as url:
        yield url, (await ledger(url))[1]


@pytest_asyncio.fixture
async def bundle(sealed: tuple[str, list[SignedSeal]], tmp_path: Path) -> Path:
    await bundle_of(sealed[0], tmp_path / "bundle")
    return tmp_path / "bundle"


async def test_the_same_range_gives_the_same_bytes(
    sealed: tuple[str, list[SignedSeal]], tmp_path: Path
) -> None:
    url, _ = sealed
    told = await bundle_of(url, tmp_path / "one")
    await bundle_of(url, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (told.first, told.last, told.events, told.seals) == (1, EVENTS, EVENTS, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


async def test_it_says_what_is_proved_and_what_is_not(
    sealed: tuple[str, list[SignedSeal]], bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(bundle)]) == 0
    said = capsys.readouterr().out
    assert "positions 1 to 10 of LEDGER are 10 events" in said
    assert "not proved without a trusted checkpoint" in said
    assert "as the file itself says" in said
    kept = bundle.with_name("kept")
    kept.write_bytes(b"".join(seal_lines(sealed[1][:2])))
    assert main([str(bundle), "--seal", str(kept), "--key", SIGNER.key]) == 0
    said = capsys.readouterr().out
    assert "up to 8 nothing was cut" in said
    assert "a trusted public key" in said
    assert main([str(bundle), "--key", "0" * 64]) == 1
    assert "position 1: rewritten: seal 1: its key is not known" in capsys.readouterr().err


async def test_a_part_is_widened_to_whole_seals(
    sealed: tuple[str, list[SignedSeal]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, seals = sealed
    path, kept = tmp_path / "bundle", tmp_path / "kept"
    told = await bundle_of(url, path, 6, 7)
    assert (told.first, told.last, told.seals) == (5, 8, 1)
    assert main([str(path)]) == 0
    assert "not proved: what was before" in capsys.readouterr().out
    for number, words in ((0, "up to 4 nothing"), (1, "up to 8 nothing")):
        kept.write_bytes(seal_lines(seals)[number])
        assert main([str(path), "--seal", str(kept)]) == 0
        assert words in capsys.readouterr().out
    other = msgspec.structs.replace(seals[0].seal(), last=3)
    kept.write_bytes(seal_lines([SIGNER.sign(other, b"")])[0])
    assert main([str(path), "--seal", str(kept)]) == 1
    assert "position 4: rewritten" in capsys.readouterr().err
    await bundle_of(url, path, 9)
    kept.write_bytes(seal_lines(seals)[0])
    assert main([str(path), "--seal", str(kept)]) == 1
    assert "the bundle begins with seal 3" in capsys.readouterr().err
    with pytest.raises(SealError, match="no seal there"):
        await bundle_of(url, path, 11)


def changed(at: int, **members: object) -> Callable[[Lines], Lines]:
    def edit(found: Lines) -> Lines:
        found[at - 1] = msgspec.json.encode(msgspec.json.decode(found[at - 1]) | members) + b"\n"
        return found

    return edit


def without(*at: int) -> Callable[[Lines], Lines]:
    return lambda found: [line for n, line in enumerate(found, 1) if n not in at]


def order(*at: int) -> Callable[[Lines], Lines]:
    return lambda found: [found[n - 1] for n in at]


def text(at: int, line: bytes) -> Callable[[Lines], Lines]:
    return lambda found: [*found[: at - 1], line, *found[at:]]


EVENT_EDITS = [
    (changed(3, payload="{}"), "position 3: changed"),
    (changed(3, metadata="{}"), "position 3: changed"),
    (changed(3, subject="6f6bbcf5-0a2a-5c70-9d55-5f0f5d3c1a9e"), "position 3: changed"),
    (changed(3, recorded_at="2026-01-01T00:00:00Z"), "position 3: changed"),
    (changed(3, recorded_at="2026-01-01T00:00:00"), "position 3: changed: line 3"),
    (changed(10, version=7), "position 10: changed"),
    (changed(6, extra=1), "position 6: changed: line 6"),
    (text(6, b"\xff\n"), "position 6: changed: line 6"),
    (text(6, b'{"position":"\\ud800"}\n'), "position 6: changed: line 6"),
    (without(3), "position 3: missing"),
    (without(1), "position 1: missing"),
    (without(9, 10), "position 9: cut"),
    (without(*range(1, 11)), "position 1: cut"),
    (order(1, 2, 4, 3, 5, 6, 7, 8, 9, 10), "position 3: reordered"),
    (order(4, 2, 3, 1, 5, 6, 7, 8, 9, 10), "position 1: reordered"),
    (order(1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10), "position 3: inserted"),
    (order(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10), "position 11: inserted"),
]
SEALS = [
    (without(2), "position 5: missing: seal 2 is missing"),
    (order(2, 1, 3), "position 1: missing"),
    (order(1, 2, 3, 3), "position 11: missing"),
    (without(3), "position 9: inserted"),
    (without(1, 2, 3), "position 1: cut: there are no seals"),
    (changed(2, signature="0" * 128), "position 5: rewritten: seal 2: its signature"),
    (changed(2, leaves=""), "position 5: rewritten: seal 2, up to 8: the hashes kept"),
    (changed(2, statement="{}"), "position 5: rewritten: seal 2: this is no seal"),
    (changed(1, statement="{}"), "position 1: rewritten: this is no seal"),
    (text(3, b"{}\n"), "position 9: rewritten: line 3"),
]


@pytest.mark.parametrize(("edit", "said"), EVENT_EDITS)
async def test_an_edit_of_the_events_is_named(
    bundle: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[Lines], Lines], said: str
) -> None:
    edit_bundle(bundle, events=edit)
    assert main([str(bundle)]) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("edit", "said"), SEALS)
async def test_an_edit_of_the_seals_is_named(
    bundle: Path, capsys: pytest.CaptureFixture[str], edit: Callable[[Lines], Lines], said: str
) -> None:
    edit_bundle(bundle, seals=edit)
    assert main([str(bundle)]) == 1
    assert said in capsys.readouterr().err


MANIFEST = [
    ({"organisation": "OTHER"}, "position 1: rewritten: a seal of 'LEDGER'"),
    ({"events": 9}, "events is not 10"),
    ({"seals": 2}, "seals is not 3"),
    ({"first": 2}, "first is not 1"),
    ({"last": 9}, "last is not 10"),
    ({"events_sha256": "0" * 64}, "events_sha256 is not"),
    ({"seals_sha256": "0" * 64}, "seals_sha256 is not"),
    ({"key": "0" * 64}, "its key is not known"),
    ({"form": "crmledger.bundle.2"}, "is no bundle"),
    ({"extra": 1}, "is no bundle"),
]


@pytest.mark.parametrize(("members", "said"), MANIFEST)
async def test_an_edit_of_the_manifest_is_named(
    bundle: Path, capsys: pytest.CaptureFixture[str], members: dict[str, object], said: str
) -> None:
    edit_bundle(bundle, manifest=members)
    assert main([str(bundle)]) == 1
    assert said in capsys.readouterr().err


async def test_another_key_in_seals_and_manifest_is_not_the_readers(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody who rewrites all of it and signs it himself has only his own word for it."""
    forger = Signer(bytes(32))
    former = "0" * 64

    def signed_anew(found: Lines) -> Lines:
        nonlocal former
        made = []
        for line in found:
            signed = msgspec.json.decode(line, type=SignedSeal)
            seal = msgspec.structs.replace(signed.seal(), key=forger.key, former=former)
            signed = forger.sign(seal, signed.leaves)
            former = signed.hash()
            made.append(msgspec.json.encode(signed) + b"\n")
        return made

    edit_bundle(bundle, seals=signed_anew, manifest={"key": forger.key})
    assert main([str(bundle)]) == 0
    assert "compare it with" in capsys.readouterr().out
    assert main([str(bundle), "--key", SIGNER.key]) == 1
    assert "position 1: rewritten" in capsys.readouterr().err


async def test_files_that_are_no_bundles(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = bundle.read_bytes()
    odd = io.BytesIO()
    with zipfile.ZipFile(odd, "w") as archive:
        archive.writestr("readme", "")
    with zipfile.ZipFile(bundle) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    wrong = whole.replace(b'"schema":1', b'"schema":2', 1)
    for content in (b"", b"PK", whole[:-30], odd.getvalue(), packed.getvalue(), wrong, b"{}", b"{"):
        bundle.write_bytes(content)
        assert main([str(bundle)]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert main([str(bundle.with_name("none"))]) == 1


def test_a_bundle_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="lost"), create_bundle(tmp_path / "bundle"):
        raise RuntimeError("lost")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError), open_bundle(tmp_path / "bundle"):
        pass
    assert issubclass(BundleError, ValueError)


FOREIGN = (
    "asyncpg",
    "aiohttp",
    "asyncio",
    "socket",
    "ssl",
    "sqlite3",
    "infra.postgres.pool",
    "eventsourcing",
)


async def test_the_verifier_knows_neither_database_nor_network(bundle: Path) -> None:
    code = (
        "import sys, json; from infra.audit.verifier import main; status = main(sys.argv[1:]);"
        "print(json.dumps(sorted(sys.modules))); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], cwd=ROOT, capture_output=True, check=True
    )
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert "infra.audit.seal_verification" in loaded
    assert not [name for name in loaded if name in FOREIGN]


async def test_memory_does_not_grow_with_the_bundle(bundle: Path) -> None:
    """Of ten thousand lines of one entity, no more than some are ever held."""
    with zipfile.ZipFile(bundle) as archive:
        line = msgspec.json.decode(archive.read("events.ndjson").splitlines()[0])
    long = msgspec.json.encode(line | {"payload": json.dumps("x" * 10_000)}) + b"\n"
    edit_bundle(bundle, events=lambda found: [*found, *([long] * 2_000)])
    tracemalloc.start()
    assert main([str(bundle)]) == 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000 < bundle.stat().st_size
