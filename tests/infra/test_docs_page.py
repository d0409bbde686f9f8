"""The viewer is whole, is what its provenance says, and asks no other server for anything."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

import pytest

from infra.http.browser.api_docs import CONTENT_SECURITY_POLICY, asset

DOCS = files("infra.http.browser") / "assets" / "docs"
NAMES = sorted(entry.name for entry in DOCS.iterdir())


def text(path: str) -> str:
    found = asset(path)
    assert found
    return found[0].decode()


@pytest.mark.parametrize("name", NAMES)
def test_every_file_but_the_provenance_is_served(name: str) -> None:
    found = asset(name)
    if name == "PROVENANCE.md":
        assert found is None
    else:
        assert found
        assert found[0] == (DOCS / name).read_bytes()


@pytest.mark.parametrize(
    ("path", "mime_type"),
    [
        ("", "text/html; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("viewer.js", "text/javascript; charset=utf-8"),
        ("swagger-ui.css", "text/css; charset=utf-8"),
    ],
)
def test_types(path: str, mime_type: str) -> None:
    found = asset(path)
    assert found
    assert found[1] == mime_type


@pytest.mark.parametrize(
    "path", ["../docs_page.py", "/etc/passwd", "./index.html", "docs/", "INDEX.HTML", "\0", "."]
)
def test_no_path_of_the_client_is_opened(path: str) -> None:
    assert asset(path) is None


def test_vendored_files_are_unchanged() -> None:
    rows = re.findall(
        r"\| `(.+?)` \| .+? \| `([0-9a-f]{64})` \|", (DOCS / "PROVENANCE.md").read_text()
    )
    assert {name for name, _ in rows} == {name for name in NAMES if name.startswith("swagger-ui")}
    for name, digest in rows:
        assert hashlib.sha256((DOCS / name).read_bytes()).hexdigest() == digest


def test_the_page_loads_only_what_is_served() -> None:
    page = text("")
    assert "<title>crmledger</title>" in page
    links = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [link for link in links if not link.startswith("/docs/")] == ["data:,", "/openapi.json"]
    assert all(asset(link.removeprefix("/docs/")) for link in links if link.startswith("/docs/"))
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=|<style|\sstyle=", page), (
        "the policy refuses inline code"
    )


def test_no_address_of_another_server_is_fetched() -> None:
    for path in ("", "viewer.js", "viewer.css"):
        assert "//" not in re.sub(r"(?<=[;,]) // .*", "", text(path))
    assert set(re.findall(r"url\(\"?(\w+):", text("swagger-ui.css"))) == {"data"}
    assert "@import" not in text("swagger-ui.css")
    assert "validatorUrl: null" in text("viewer.js")


def test_the_policy_allows_nothing_foreign_and_no_inline_script() -> None:
    directives = dict(directive.split(" ", 1) for directive in CONTENT_SECURITY_POLICY.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    sources = {source for value in directives.values() for source in value.split()}
    assert sources == {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}
