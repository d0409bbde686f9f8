"""What holds personal data or secrets is written so that only its owner reads it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from stat import S_IMODE

import pytest

from infra.analytics.export import Range, export, find_relation
from infra.audit.bundle import create_bundle
from infra.private_files import replace_privately
from tests.fixtures.service import RING, ROOT

WRITES = re.compile(
    r"""write_text|write_bytes|O_CREAT|ZipFile\([^)]*"w"|open\([^)]*["'][wax]b?\+?["']|NamedTemporary"""
)
PRIVATE = {
    "infra/analytics/export.py": "into a private draft",
    "infra/audit/bundle.py": "into a private draft",
    "infra/demo/load.py": "into a private draft",
    "infra/docs.py": "public pages",
    "infra/postgres/embedded/files.py": "created with mode 0600",
    "infra/postgres/embedded/placement.py": "the path of a folder",
    "infra/settings.py": "created with mode 0600",
}
"""The modules that write files, and why nobody else reads these."""


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    """The least careful umask there is."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(file: Path) -> int:
    return S_IMODE(file.stat().st_mode)


def test_whatever_the_draft_and_the_former_file_were(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("former")
    file.chmod(0o666)
    with replace_privately(file) as draft:
        draft.write_text("new")
        draft.chmod(0o666)
        (folder,) = {path for path in tmp_path.iterdir() if path != file}
        assert mode(folder) == 0o700
        assert draft.is_relative_to(folder)
    assert (file.read_text(), mode(file)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [file]


def test_a_failure_leaves_the_former_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("former")

    def fail() -> None:
        with replace_privately(file) as draft:
            draft.write_text("half")
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert file.read_text() == "former"
    assert list(tmp_path.iterdir()) == [file]


def test_a_bundle(tmp_path: Path) -> None:
    with create_bundle(tmp_path / "bundle"):
        pass
    assert mode(tmp_path / "bundle") == 0o600


@pytest.mark.parametrize("form", ["csv", "parquet", "duckdb"])
async def test_an_export(database: str, tmp_path: Path, form: str) -> None:
    file, relation = tmp_path / "contacts", find_relation("contacts")
    hooks = {"total": lambda _: None, "advance": lambda _: None}
    await export(database, relation, file, form, Range(None), RING, personal=True, **hooks)  # type: ignore[arg-type]
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_every_module_that_writes_files_is_known() -> None:
    sources = {str(path.relative_to(ROOT)): path for path in ROOT.glob("infra/**/*.py")}
    writing = {name for name, path in sources.items() if WRITES.search(path.read_text("utf-8"))}
    assert writing == set(PRIVATE)
