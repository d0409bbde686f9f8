"""Exports: the same bytes for the same rows, nothing that a spreadsheet runs, whole or not at all."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg
import duckdb
import pytest

from infra.analytics import export as exporting
from infra.analytics.export import Export, ExportError, Format, Range, export, find_relation
from infra.analytics.relations import OBJECTS
from tests.fixtures.read_models import connection
from tests.fixtures.service import RING, Api, environment, run_in_process

ROOT = Path(__file__).parents[2]
DEMO = Range("CRMDEMO")


async def written(
    url: str, what: str, file: Path, wanted: Range = DEMO, *, personal: bool = False
) -> Export:
    """An export; what it tells of its progress ends where it said it would."""
    told: list[int] = []
    totals: list[int] = []
    form: Format = {".csv": "csv", ".parquet": "parquet", ".duckdb": "duckdb"}[file.suffix]  # type: ignore[assignment]
    report = await export(
        url,
        find_relation(what),
        file,
        form,
        wanted,
        RING,
        personal=personal,
        total=totals.append,
        advance=told.append,
    )
    assert totals == [sum(told)] == [report.rows + 1]
    return report


def lines(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("what", [*OBJECTS, "ledger"])
async def test_the_same_rows_make_the_same_bytes(demo: str, tmp_path: Path, what: str) -> None:
    for form in ("csv", "parquet"):
        first, second = tmp_path / f"1.{form}", tmp_path / f"2.{form}"
        report = await written(demo, what, first, personal=True)
        assert report == await written(demo, what, second, personal=True)
        assert first.read_bytes() == second.read_bytes()
    counted = duckdb.sql(f"SELECT count(*) FROM '{first}'").fetchall()
    assert counted == [(report.rows,)] == [(len(lines(tmp_path / "1.csv")),)]
    described = duckdb.sql(f"DESCRIBE SELECT * FROM '{first}'").fetchall()
    assert [row[0] for row in described] == [column.name for column in find_relation(what).columns]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "1.csv",
        "1.parquet",
        "2.csv",
        "2.parquet",
    ]


async def test_values_survive_in_every_format(demo: str, tmp_path: Path) -> None:
    async with connection(demo) as asked:
        true = [
            tuple(row)
            for row in await asked.fetch(
                "SELECT number, content, notes, viewed, viewed_on, created_position FROM analytics.communications"
                " ORDER BY created_position"
            )
        ]
    for file in (tmp_path / "c.parquet", tmp_path / "c.duckdb"):
        await written(demo, "communications", file, personal=True)
        database = str(file) if file.suffix == ".duckdb" else ":memory:"
        table = "communications" if file.suffix == ".duckdb" else f"'{file}'"
        with duckdb.connect(database) as one:
            rows = one.execute(
                f"SELECT number, content, notes, viewed, viewed_on, created_position FROM {table}"
            ).fetchall()
        assert rows == true
    with duckdb.connect(str(tmp_path / "c.duckdb")) as one:
        says = one.execute(
            "SELECT comment FROM duckdb_columns() WHERE column_name = 'media'"
        ).fetchall()
    assert says == [("One of EMAIL, SMS, PHONE, LETTER, FACE_TO_FACE.",)]


async def test_nothing_personal_unless_it_is_asked_for(demo: str, tmp_path: Path) -> None:
    masked, clear = tmp_path / "masked.csv", tmp_path / "clear.csv"
    await written(demo, "contacts", masked)
    await written(demo, "contacts", clear, personal=True)
    assert {row["name"] for row in lines(masked)} == {""}
    assert "Marios Georgiou" in {row["name"] for row in lines(clear)}


async def test_ranges_make_up_the_whole(demo: str, tmp_path: Path) -> None:
    for what in ("ledger", "events_flat", "transitions", "contacts"):
        whole = tmp_path / "whole.csv"
        head = (await written(demo, what, whole)).upto
        assert head
        parts: list[dict[str, str]] = []
        for after, upto in ((0, 100), (100, 390), (390, None)):
            report = await written(demo, what, tmp_path / "part.csv", Range("CRMDEMO", after, upto))
            assert report.upto == (upto or head)
            parts += lines(tmp_path / "part.csv")
        key: Callable[[dict[str, str]], str] = str
        assert sorted(parts, key=key) == sorted(lines(whole), key=key)


async def test_later_events_do_not_change_a_range_of_the_ledger(
    database: str, tmp_path: Path
) -> None:
    async with run_in_process(database) as service:
        one, other = Api(service, organisation="ONE"), Api(service, organisation="OTHER")
        await one.register([{"kind": "organisation", "id": "O1", "name": "ONE"}])
        before = await written(database, "ledger", tmp_path / "before.csv", Range("ONE"))
        await one.register([{"kind": "industry", "id": "I1", "name": "Shipping", "code": "S"}])
        await other.register([{"kind": "organisation", "id": "O2", "name": "OTHER"}])
    again = await written(database, "ledger", tmp_path / "again.csv", Range("O1", upto=before.upto))
    assert again == before == Export(1, 1)
    assert (tmp_path / "before.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    all_of_them = await written(database, "organisations", tmp_path / "all.csv", Range())
    assert all_of_them == Export(2, None)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
async def test_formulas_are_texts(demo: str, text: str) -> None:
    cell = exporting._cell(find_relation("contacts").columns[1], "csv")
    async with connection(demo) as asked:
        sql = f"SELECT {cell} FROM (VALUES ($1::text), ('plain = 1'), (NULL)) AS v (id)"
        found = [row[0] for row in await asked.fetch(sql, text)]
    assert found == [f"'{text}", "plain = 1", None]


async def test_numbers_are_no_formulas(demo: str, tmp_path: Path) -> None:
    column = next(c for c in find_relation("transitions").columns if c.name == "seconds")
    assert exporting._cell(column, "csv") == '"seconds"'
    assert "CASE" not in exporting._cell(find_relation("contacts").columns[1], "parquet")


@pytest.mark.parametrize(
    ("what", "wanted", "says"),
    [
        ("ledger", Range("NOBODY"), "there is no organisation NOBODY"),
        ("ledger", Range(None, 5), "positions are those of one organisation"),
        ("daily_events", Range("CRMDEMO", 5), "daily_events is exported as a whole"),
        ("ledger", Range("CRMDEMO", 0, 10_000), "the ledger ends at position"),
    ],
)
async def test_what_cannot_be_is_refused(
    demo: str, tmp_path: Path, what: str, wanted: Range, says: str
) -> None:
    with pytest.raises(ExportError, match=says):
        await written(demo, what, tmp_path / "x.csv", wanted)
    assert not list(tmp_path.iterdir())


def test_another_object_is_refused() -> None:
    with pytest.raises(ExportError, match="there is no secrets; there are access_tokens, "):
        find_relation("secrets")


async def test_a_missing_extra_is_said_at_once(
    demo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "infra.analytics.duckdb_files", raising=False)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(ExportError, match=r"pip install 'crmledger\[export\]'"):
        await written(demo, "contacts", tmp_path / "x.parquet")


async def test_a_failed_export_leaves_the_former_file(
    demo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text("former")
    monkeypatch.setattr(exporting, "_order", lambda _: "nothing")
    with pytest.raises(asyncpg.UndefinedColumnError):
        await written(demo, "contacts", file)
    assert [path.name for path in tmp_path.iterdir()] == ["contacts.csv"]
    assert file.read_text() == "former"


def test_lines_are_counted_across_pieces() -> None:
    text = b'a,b\n1,"x\ny"\n2,"say ""hi""\n"\n'
    for size in (1, 2, 3, 100):
        counted = exporting._LineCounter()
        pieces = (text[n : n + size] for n in range(0, len(text), size))
        assert sum(counted.count(piece) for piece in pieces) == 3


async def test_the_command(demo: str, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "infra.cli.main", "export", *words],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "COLUMNS": "200"} | environment(demo),
            capture_output=True,
            text=True,
            check=False,
        )

    file = tmp_path / "contacts.parquet"
    done = run("contacts", str(file), "--organisation", "CRMDEMO", "--after", "100", "--personal")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 rows, up to position ")
    assert "contacts" in done.stderr
    assert len(duckdb.sql(f"SELECT * FROM '{file}' WHERE name IS NOT NULL").fetchall()) == 8
    refused = run("nothing", str(file))
    assert refused.returncode == 1
    assert "there is no nothing" in refused.stderr
