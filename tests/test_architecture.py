"""The laws and budgets of the house, as tests."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

import services.registry  # noqa: F401 (fills the registries)
from domain.aggregate import AGGREGATES, EVENTS
from domain.errors import CATALOGUE
from services.pipeline.method import METHODS
from services.projections import COMPACTS, PROJECTIONS

ROOT = Path(__file__).parent.parent
PACKAGES = ("domain", "services", "infra")
SOURCES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
FILE, FUNCTION, LONGEST, ENDPOINT = 300, 20, 50, 12
"""Lines: of a file, of nine functions in ten, of any function, of an endpoint's body."""

SERVED = {*range(1, 25), *range(26, 62)}
"""The methods of the contract's list (common.md, section 15) that exist so far; O1 to O5 are 57 to 61."""


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function below its signature and docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def is_endpoint(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = {"query", "create", "command"}
    calls = (d.func for d in function.decorator_list if isinstance(d, ast.Call))
    return any(isinstance(call, ast.Name) and call.id in names for call in calls)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= FILE


def test_functions_are_short() -> None:
    sizes = {
        f"{path.relative_to(ROOT)}:{f.name}": body_lines(f)
        for path in SOURCES
        for f in functions(path)
    }
    assert statistics.quantiles(sizes.values(), n=10)[-1] <= FUNCTION
    assert not {name: size for name, size in sizes.items() if size > LONGEST}


def test_endpoints_are_short() -> None:
    sizes = {
        f"{path.name}:{f.name}": body_lines(f)
        for path in (ROOT / "services").glob("*.py")
        for f in functions(path)
        if is_endpoint(f)
    }
    assert len(sizes) >= len(SERVED) - 3
    assert not {name: size for name, size in sizes.items() if size > ENDPOINT}


def test_public_functions_are_documented() -> None:
    undocumented = [
        f"{path.relative_to(ROOT)}:{f.name}"
        for path in SOURCES
        for f in functions(path)
        if not f.name.startswith("_") and ast.get_docstring(f) is None and not is_nested(path, f)
    ]
    assert not undocumented


def is_nested(path: Path, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it stands inside another function, or overrides what its base has documented."""
    tree = ast.parse(path.read_text("utf-8"))
    owners = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    inner = any(
        o.lineno < function.lineno <= (o.end_lineno or 0)
        for o in owners
        if o.lineno != function.lineno
    )
    overriding = {"read", "sent", "schema", "sent_schema", "given", "also", "parameter", "key"}
    return inner or function.name in overriding | {"change", "subject"}


def test_the_registry_holds_the_contracts_methods() -> None:
    assert {method.number for method in METHODS.values()} == SERVED
    assert all(method.summary.endswith(".") for method in METHODS.values())


def test_every_aggregate_is_projected() -> None:
    assert set(PROJECTIONS) == set(AGGREGATES.values())


def test_topics_are_of_their_aggregates() -> None:
    for topic, event in EVENTS.items():
        assert re.fullmatch(r"[a-z_]+\.[a-z_]+", topic)
        assert topic.partition(".")[0] in AGGREGATES
        assert set(event.PERSONAL) <= set(event.__dataclass_fields__)


def test_compact_objects_are_named_like_their_entity() -> None:
    assert all(shape.name == entity for entity, shape in COMPACTS.items())


def test_error_codes_are_unique() -> None:
    codes = [error.code for error in CATALOGUE.values()]
    assert len(set(codes)) == len(codes) == 38


def test_no_work_is_left_undone() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|NotImplemented)\b")
    assert not [str(path) for path in SOURCES if marks.search(path.read_text("utf-8"))]


def test_sql_is_never_built_from_values() -> None:
    """Only constants and column names of a fixed table reach SQL; values are parameters."""
    formatted = re.compile(r"f\"\"\"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)|%\s*\(.*(SELECT|INSERT)")
    allowed = {"load.py"}
    found = {path.name for path in SOURCES if formatted.search(path.read_text("utf-8"))}
    assert found <= allowed
