"""The documentation cannot lie: what is generated is current, what is written names what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from domain.reference.delivery_servers import EMAIL_SERVER, SMS_SERVER
from domain.reference.fields import OptionalObject
from infra import docs as documentation
from infra.settings import Settings

ROOT = Path(__file__).parent.parent
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|#)([^)#]+)")


@pytest.mark.parametrize("page", documentation.PAGES)
def test_generated_pages_are_current(page: str) -> None:
    written = (documentation.FOLDER / page).read_text("utf-8")
    assert written == documentation.text(page), "run: python -m infra.documentation"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        target
        for target in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / target.strip()).exists()
    ]
    assert not broken


@pytest.mark.parametrize("field", Settings.__struct_encode_fields__)
def test_every_setting_is_documented(field: str) -> None:
    assert f"`{field}`" in (ROOT / "docs" / "operations.md").read_text("utf-8")


@pytest.mark.parametrize("server", [EMAIL_SERVER, SMS_SERVER], ids=lambda server: server.name)
def test_every_setting_of_a_server_is_documented(server: OptionalObject) -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    assert [row.name for row in server.fields if f"`{row.name}`" not in page] == []


@pytest.mark.parametrize("path", re.findall(r"^([a-z]+)/", (ROOT / "README.md").read_text(), re.M))
def test_the_map_of_the_tree_names_folders(path: str) -> None:
    assert (ROOT / path).is_dir()
