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
ANCHOR = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#]*)#([^)]+)\)")
PATH = re.compile(r"(?<![\w/.])(?:domain|services|infra|tests)/[\w./-]*\w")
DECISIONS = ROOT / "docs" / "decisions"
DECISION = re.compile(r"^\| (\d+) \| \[(.+)\]\((.+)\) \| (.+) \| (\d{4}-\d\d-\d\d) \| .+ \|$", re.M)
STATUS = re.compile(r"accepted(, extended by \d+)?|superseded by \d+")


@pytest.mark.parametrize("page", documentation.PAGES)
def test_generated_pages_are_current(page: str) -> None:
    written = (documentation.FOLDER / page).read_text("utf-8")
    assert written == documentation.text(page), "run: python -m infra.docs"


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = [
        target
        for target in LINK.findall(page.read_text("utf-8"))
        if not (page.parent / target.strip()).exists()
    ]
    assert not broken


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_anchors_lead_to_headings(page: Path) -> None:
    broken = [
        f"{target}#{anchor}"
        for target, anchor in ANCHOR.findall(page.read_text("utf-8"))
        if anchor not in anchors(page.parent / target if target else page)
    ]
    assert not broken


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made of their texts."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


# Profiles name files as they were called when the profile was taken.
@pytest.mark.parametrize(
    "page",
    [page for page in WRITTEN if page.name != "profiles.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = set(PATH.findall(page.read_text("utf-8")))
    assert not [path for path in sorted(named) if not (ROOT / path).exists()]


@pytest.mark.parametrize("layer", ["domain", "services", "infra"])
def test_the_architecture_page_names_every_room(layer: str) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    inside = [p for p in (ROOT / layer).iterdir() if (p / "__init__.py").exists()]
    if layer != "domain":
        inside += (path for path in (ROOT / layer).glob("*.py") if path.stem != "__init__")
    assert inside
    assert not [path for path in inside if not re.search(rf"\b{path.stem}\b", page)]


def test_every_decision_is_listed() -> None:
    listed = DECISION.findall((DECISIONS / "README.md").read_text("utf-8"))
    pages = sorted(DECISIONS.glob("0*.md"))
    assert [file for _, _, file, _, _ in listed] == [page.name for page in pages]
    titles = [page.read_text("utf-8").partition("\n")[0] for page in pages]
    assert [f"# {number}. {title}" for number, title, _, _, _ in listed] == titles
    assert [int(number) for number, *_ in listed] == [int(page.name[:4]) for page in pages]
    assert all(STATUS.fullmatch(status) for _, _, _, status, _ in listed)


def test_the_glossary_has_each_word_once() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    words = [
        word for word in re.findall(r"^\| ([^|]+) \|", page, re.M) if word not in ("word", "---")
    ]
    assert len(words) == len(set(words)) >= 50


def test_methods_in_the_readme_are_those_of_the_code() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    code = "".join(path.read_text("utf-8") for path in (ROOT / "services").rglob("*.py"))
    examples = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert examples
    assert not [example for example in examples if example not in code]


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
