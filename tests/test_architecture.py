"""The laws and budgets of the house, as tests.

Each law is a function from sources to its offenders. A test holds it against the project, and
against planted sources in which it must find the offender: a law that finds nothing anywhere is
none.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import services.registry  # noqa: F401 (fills the registries)
from domain.aggregate import AGGREGATES, EVENTS
from domain.errors import CATALOGUE
from services.pipeline.method import METHODS
from services.projections import COMPACTS, PROJECTIONS

ROOT = Path(__file__).parent.parent
PACKAGES = ("domain", "services", "infra")
Sources = Mapping[str, str]
"""Texts of modules by path below the root."""

SOURCES: Sources = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for name in PACKAGES
    for path in sorted((ROOT / name).rglob("*.py"))
}
FILE, FUNCTION, LONGEST, ENDPOINT = 400, 20, 50, 12
"""Lines: of a file, of nine functions in ten, of any function, of an endpoint's body."""

SERVED = {*range(1, 25), *range(26, 62)}
"""The methods of the contract's list (common.md, section 15) that exist so far; O1 to O5 are 57 to 61."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(sources: Sources) -> Iterator[tuple[str, Function]]:
    """Every function, with its name as ``path:name``."""
    for path, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, Function):
                yield f"{path}:{node.name}", node


def body_lines(function: Function) -> int:
    """The number of lines of a function below its signature and docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def is_endpoint(function: Function) -> bool:
    """True if a decorator of the registry of methods declares it."""
    names = {"query", "create", "command"}
    calls = (d.func for d in function.decorator_list if isinstance(d, ast.Call))
    return any(isinstance(call, ast.Name) and call.id in names for call in calls)


def long_files(sources: Sources) -> list[str]:
    """The files of more than `FILE` lines."""
    return [path for path, text in sources.items() if len(text.splitlines()) > FILE]


def long_functions(sources: Sources) -> list[str]:
    """The functions of more than `LONGEST` lines."""
    return [name for name, f in functions(sources) if body_lines(f) > LONGEST]


def long_endpoints(sources: Sources) -> list[str]:
    """The endpoints of more than `ENDPOINT` lines."""
    return [n for n, f in functions(sources) if is_endpoint(f) and body_lines(f) > ENDPOINT]


def undocumented(sources: Sources) -> list[str]:
    """The public functions without a docstring; overriding and inner ones need none."""
    found = []
    for path, text in sources.items():
        tree = ast.parse(text)
        inner = {
            node
            for outer in ast.walk(tree)
            if isinstance(outer, Function)
            for node in ast.walk(outer)
            if node is not outer
        }
        found += [
            f"{path}:{node.name}"
            for node in ast.walk(tree)
            if isinstance(node, Function)
            and node not in inner
            and node.name not in OVERRIDING
            and not node.name.startswith("_")
            and ast.get_docstring(node) is None
        ]
    return found


OVERRIDING = {
    "alternate_key",
    "apply_to",
    "data_subject",
    "key",
    "parameter",
    "raw_value",
    "read",
    "response_schema",
    "schema",
    "subject",
    "to_response",
}
"""Methods whose meaning their base documents."""


def unknown_parameters(sources: Sources) -> list[str]:
    """The functions whose docstring describes a parameter that they do not take."""

    def is_taken(function: Function, name: str) -> bool:
        return any(isinstance(a, ast.arg) and a.arg == name for a in ast.walk(function.args))

    return [
        f"{place}:{name}"
        for place, function in functions(sources)
        for name in re.findall(r":param (\w+):", ast.get_docstring(function) or "")
        if not is_taken(function, name)
    ]


def unfinished(sources: Sources) -> list[str]:
    """The files that hold a mark of work left undone."""
    marks = re.compile(r"\b(TODO|FIXME|XXX|NotImplemented)\b")
    return [path for path, text in sources.items() if marks.search(text)]


def gerunds(sources: Sources) -> list[str]:
    """The modules that are called by a participle: a module is a thing."""
    nouns = {
        "billing",
        "copy_encoding",
        "paging",
        "parsing",
        "query_string",
        "scheduling",
        "tracing",
    }
    stems = ((path, path.rpartition("/")[2].removesuffix(".py")) for path in sources)
    return [path for path, stem in stems if stem.endswith("ing") and stem not in nouns]


def doubled_classes(sources: Sources) -> list[str]:
    """The names that public classes of two modules share: one name, one thing."""
    places: dict[str, set[str]] = {}
    for path, text in sources.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, set()).add(path)
    return sorted(name for name, paths in places.items() if len(paths) > 1)


TERMINAL = "infra/cli/terminal.py"
STREAMS = {
    TERMINAL,
    "infra/observability/logs.py",
    "infra/audit/verifier.py",
    "infra/http/openapi/document.py",
}
"""The modules that write to standard output or error: as text for people, JSON or nobody's text."""


def printed_around(sources: Sources) -> list[str]:
    """The places that print without the terminal, which makes data of what it is given."""

    def prints(node: ast.AST, path: str) -> bool:
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [f"{name}.{alias.name}" for name in (names or [""]) for alias in node.names]
            is_rich = any(re.match(r"\.?rich(?!\.filesize)\b", name) for name in names)
            is_stream = any(re.fullmatch(r"sys\.(__)?std(out|err)(__)?", name) for name in names)
            return (is_rich and path != TERMINAL) or (is_stream and path not in STREAMS)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            full = f"{node.value.id}.{node.attr}"
            is_stream = re.fullmatch(r"sys\.(__)?std(out|err)(__)?|traceback\.print_\w+", full)
            return is_stream is not None and path not in STREAMS
        is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        return is_call and node.func.id in ("print", "pprint", "input")  # type: ignore[attr-defined]

    return [
        f"{path}:{getattr(node, 'lineno', 0)}"
        for path, text in sources.items()
        for node in ast.walk(ast.parse(text))
        if prints(node, path)
    ]


ENDPOINT_SOURCE = "@command(1, 'p', P, S)\ndef f(call):\n" + "    call()\n" * (ENDPOINT + 1)
LAWS: dict[Callable[[Sources], list[str]], Sources] = {
    long_files: {"infra/a.py": "x = 1\n" * (FILE + 1)},
    long_functions: {"infra/a.py": "def f():\n" + "    x = 1\n" * (LONGEST + 1)},
    long_endpoints: {"services/deep/a.py": ENDPOINT_SOURCE},
    undocumented: {"domain/a.py": "class A:\n    def f(self):\n        return 1\n"},
    unknown_parameters: {"infra/a.py": 'def f(limit):\n    """:param waiting: how many wait."""\n'},
    unfinished: {"services/a.py": "# TODO: later\n"},
    gerunds: {"infra/views/folding.py": ""},
    doubled_classes: {"infra/a.py": "class A: ...", "domain/b.py": "class A: ..."},
    printed_around: {"infra/cli/a.py": "print('x')\n", TERMINAL: "import rich\n"},
}
"""Each law with sources that break it once."""


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_law_is_kept(law: Callable[[Sources], list[str]]) -> None:
    assert law(SOURCES) == []


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_law_finds_a_planted_offender(law: Callable[[Sources], list[str]]) -> None:
    assert len(law(LAWS[law])) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import rich",
        "from rich.console import Console",
        "from rich import print",
        "import rich.table as t",
        "import sys\nsys.stdout.write('x')",
        "import sys\nsys.__stderr__.write('x')",
        "from sys import stderr",
        "import traceback\ntraceback.print_exc()",
        "input('name? ')",
    ],
)
def test_no_way_around_the_terminal(source: str) -> None:
    assert len(printed_around({"infra/cli/a.py": source})) == 1


def test_nine_functions_in_ten_are_short() -> None:
    sizes = [body_lines(function) for _, function in functions(SOURCES)]
    assert statistics.quantiles(sizes, n=10)[-1] <= FUNCTION


def test_every_method_is_an_endpoint_that_the_budget_sees() -> None:
    seen = [name for name, f in functions(SOURCES) if is_endpoint(f)]
    assert len(seen) >= len(SERVED) - 3


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
