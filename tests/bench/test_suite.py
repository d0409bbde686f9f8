"""The suite's own arithmetic: ratios, targets, tables, the plot, and what its clients count."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree

import pytest
from rich.console import Console

from tests.bench.beside import Seen
from tests.bench.clones import cloned
from tests.bench.drain import faults
from tests.bench.examples import caught
from tests.bench.load import Counted, Load
from tests.bench.measure import ended
from tests.bench.memory import KNOWN, resident
from tests.bench.plot import LEAST, LEFT, MOST, plot, position
from tests.bench.report import markdown, show
from tests.bench.results import SLOWER, Measured, Outcome, Report, Table, merged, ratios
from tests.bench.stacks import LOOP, RUNNER, tree
from tests.bench.targets import TARGETS, Judged, Target, judged
from tests.bench.wire import Wire, post
from tests.fixtures.read_models import connection, run_verify
from tests.fixtures.service import Api, run_in_process

HOLES = "SELECT max(position) - count(*) FROM ledger.events"
FORGED = """
SELECT count(*) FROM ledger.events e WHERE event_hash <> ledger.event_hash(organisation, position, stream_id, version,
       topic, schema_version, subject, payload::text, metadata::text, recorded_at)
"""


def cells(ours: list[Outcome], theirs: list[Outcome], *names: str) -> list[Measured]:
    ourselves, other = names or ("ours", "library")
    return [Measured(ourselves, "ours", True, ours), Measured(other, "the library", False, theirs)]


def report(*tables: Table, at: str = "now") -> Report:
    took = {table.name: 1.0 for table in tables}
    return Report(at, True, 3, 1.5, {"cores": "2"}, {}, {}, list(tables), took)


def queue(*wrong: int) -> Table:
    ours = [Outcome(rate, 1.0, 4.0, 20.0, n) for rate, n in zip((80, 160, 90), wrong, strict=True)]
    found = cells(ours, [Outcome(10), Outcome(10), Outcome(20)])
    return Table("queue", "Drain | it", "entries/s", found, "", ratios(found))


def verdicts(found: Report) -> dict[str, tuple[float | None, str]]:
    return {one.target.work: (one.value, one.verdict) for one in judged([found])}


def test_ratios_are_medians_of_passes() -> None:
    (ratio,) = queue(0, 0, 0).ratios
    assert (ratio.of, ratio.to) == ("ours", "library")
    assert (ratio.median, ratio.low, ratio.high) == (8, 4.5, 16)


def test_a_target_is_met_missed_or_not_measured() -> None:
    good, bad = verdicts(report(queue(0, 0, 0))), verdicts(report(queue(0, 1, 1)))
    assert good["queue drain"] == bad["queue drain"] == (8, "met")
    assert good["queue drain, twice or lost"] == (0, "met")
    assert bad["queue drain, twice or lost"] == (2, "missed")
    assert good["HTTP create"] == (None, "not measured")
    assert len(judged([report()])) == len(TARGETS)


@pytest.mark.parametrize(
    ("kind", "value"),
    [("value", 100.0), ("per core", 50.0), ("tail", 3.0), ("longest", 9.0), ("faults", 3.0)],
)
def test_what_is_no_ratio(kind: str, value: float) -> None:
    passes = [Outcome(90, 2, 6, 9, 1), Outcome(100, 1, 2, 8, 0), Outcome(110, 1, 4, 7, 2)]
    table = Table("create", "Create", "x/s", cells(passes, passes))
    target = Target("", "create", "ours", kind=kind, at_most=value)  # type: ignore[arg-type]
    found = judged([report(table)], (target,))[0]
    assert (found.value, found.verdict) == (value, "met")
    assert not replace(target, at_most=value - 1).met(value)


def test_what_is_allowed_besides_is_taken_off() -> None:
    found = cells([Outcome(900)], [Outcome(400)], "serve", "imports")
    table = Table("start", "Start", "ms", found, "", ratios(found), SLOWER)
    assert verdicts(report(table))["start, beyond 0.3 s"] == (1.5, "met")


def test_bounds_are_written_as_people_read_them() -> None:
    assert {target.wanted for target in TARGETS} >= {">= 50x", "<= 250 ms", "<= 1.15x", "<= 0"}
    assert {target.wanted for target in TARGETS} >= {">= 100,000 per core"}
    assert all((t.at_least is None) != (t.at_most is None) for t in TARGETS)
    assert all(bool(t.to) == (t.kind == "ratio") for t in TARGETS)


def test_no_target_is_hidden_on_the_page() -> None:
    page = markdown([report(queue(0, 0, 1))])
    assert page.count("not measured |") == len(TARGETS) - 2
    assert "| queue drain | the library | >= 8x | 8.00 | met |" in page
    assert "| queue drain, twice or lost |  | <= 0 | 1 | missed |" in page
    assert "(benchmarks.svg)" in page
    assert "POSTGRES_ENABLE_DB_FUNCTIONS" in page
    assert "quick run" in page


def test_a_section_that_failed_is_named() -> None:
    found = report()
    assert "Failed" not in markdown([found])
    found.failed["growth"] = "OSError: disk full"
    assert "- **Failed**: growth OSError: disk full" in markdown([found])


def test_what_is_measured_again_takes_the_place_of_what_was() -> None:
    start = Table("start", "Start", "ms", cells([Outcome(1)], [Outcome(2)]), "Notes.")
    first, again = report(queue(0, 1, 1), start, at="early"), report(queue(0, 0, 0), at="late")
    first.failed["queue"] = "OSError: disk full"
    runs = merged([first], again)
    assert [[table.name for table in run.tables] for run in runs] == [["start"], ["queue"]]
    assert [set(run.took) for run in runs] == [{"start"}, {"queue"}]
    page = markdown(runs)
    assert "Failed" not in page
    assert "| queue drain, twice or lost |  | <= 0 | 0 | met |" in page
    assert "Notes. Taken at early." in page
    assert page.count("## Machine and settings, ") == 2
    assert merged(runs, again) == runs


def test_a_table_that_is_made_no_more_goes_with_its_run() -> None:
    first, again = report(queue(0, 0, 0)), report(queue(0, 0, 0))
    first.tables[0].name = "as it was called once"
    assert merged([first], again) == [again]


def test_what_failed_again_stays_as_it_was() -> None:
    first, again = report(queue(0, 0, 0), at="early"), report(at="late")
    again.took["queue"], again.failed["queue"] = 1.0, "OSError: disk full"
    assert merged([first], again) == [first]


async def test_a_section_that_failed_leaves_nothing_running() -> None:
    before = asyncio.create_task(asyncio.sleep(60))
    async with ended():
        begun = asyncio.create_task(asyncio.sleep(60))
    assert begun.cancelled()
    assert not before.done()
    before.cancel()


def test_a_table_has_the_columns_of_which_there_is_something() -> None:
    page = markdown([report(queue(0, 0, 0))])
    assert "|  | entries/s | p50 / p99 ms | longest ms | faults | ours is x times as fast |" in page
    bare = cells([Outcome(1)], [Outcome(2)])
    assert "|  | MiB |\n" in markdown([report(Table("m", "M", "MiB", bare))])


def test_the_terminal_shows_what_was_measured() -> None:
    console = Console(width=200, record=True, file=StringIO())
    show([report(queue(0, 0, 0))], console)
    said = console.export_text()
    assert f"{len(TARGETS) - 2} were not measured" in said
    assert "queue drain" in said


def test_the_plot_has_every_ratio_and_its_target() -> None:
    drawn = ElementTree.fromstring(plot([report(queue(0, 0, 0))]))
    texts = [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")]
    of_ratios = [target for target in TARGETS if target.kind in ("ratio", "tail")]
    titles = [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[1:] == [target.wanted for target in of_ratios]
    assert texts.count("not measured") == len(of_ratios) - 1
    assert "queue drain : the library" in texts
    assert {"8.00x", ">= 8x"} <= set(texts)


def test_the_scale_is_logarithmic_and_has_ends() -> None:
    assert position(1) - position(0.1) == pytest.approx(position(100) - position(10))
    assert position(0) == position(LEAST) == LEFT
    assert position(1e9) == position(MOST)


def test_entries_that_come_twice_or_not_at_all_are_faults() -> None:
    assert faults(Counter("abc"), 3) == 0
    assert faults(Counter("abcc"), 3) == 1
    assert faults(Counter("ab"), 3) == 1
    assert faults(Counter("abb"), 3) == 2


def test_by_the_clock_a_request_waits_from_when_it_was_due() -> None:
    counted = Counted(Load([1], ["a", "b"], "", seconds=1.0, rate=10.0))
    counted.fire(5.0)
    counted.fire(6.0)
    assert [counted.next(), counted.next(), counted.next()] == [5.0, 6.0, None]
    assert [counted.request(), counted.request()] == [b"b", b"a"]
    counted.note(counted.begun - 1)
    counted.note(counted.begun)
    assert len(counted.took) == 1


class Kept(Wire):
    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []

    def answered(self, pieces: list[bytes], body: int) -> None:
        self.bodies.append(b"".join(pieces)[body:])


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_an_answer_is_whole_wherever_it_is_cut(size: int) -> None:
    wire = Kept()
    for body in (b"first", b"", b"x" * 200):
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        for start in range(0, len(answer), size):
            wire.data_received(answer[start : start + size])
    assert wire.bodies == [b"first", b"", b"x" * 200]


def test_a_post_says_how_many_bytes_it_has() -> None:
    assert "Content-Length: 4\r\n" in post("/x", '"é"')


@pytest.mark.skipif(not KNOWN, reason="no /proc")
async def test_memory_is_that_of_a_process_and_its_children() -> None:
    code = "import subprocess, sys; x = bytearray(30 << 20); print(flush=True); sys.stdin.read()"
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", nested), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    await child.stdout.readline()
    assert resident(child.pid) > 40
    await child.communicate(b"")
    assert resident(child.pid) == 0


async def test_copies_are_what_the_service_would_have_written(database: str) -> None:
    life = await caught(database)
    ids = await cloned(database, life.organisation, life.stream, 3, life.payloads)
    assert (await run_verify(database)).differences == []
    async with connection(database) as owner:
        assert await owner.fetchval("SELECT count(*) FROM views.communications") == 3 + 2
        assert await owner.fetchval(HOLES) == 0
        assert await owner.fetchval(FORGED) == 0
    async with run_in_process(database) as service:
        again = Api(service, life.organisation)
        shown = await again.get("communications/show", communication_identifier=f"id={ids[1]}")
    assert (shown["id"], shown["code"], shown["viewed"]) == (ids[1], shown["number"][2:], 1)


def test_a_read_that_is_behind_is_a_fault() -> None:
    seen = Seen()
    seen.shown("3", 2)
    seen.shown("2", 2)
    assert (seen.read, seen.faults) == (2, 0)
    seen.shown("1", 2)
    assert seen.faults == 1


def test_nothing_measured_is_no_value() -> None:
    assert Judged(TARGETS[0], ()).value is None


def test_a_profile_is_a_tree_of_the_event_loops_functions() -> None:
    stacks = [
        f"main (cli.py:1);{RUNNER[:-1]}:7);handle (a.py:10);read (b.py:1) 30",
        f"main (cli.py:1);{RUNNER[:-1]}:9);handle (a.py:12) 50",
        f"main (cli.py:1);{RUNNER[:-1]}:9);seldom (c.py:1) 1",
        f"main (cli.py:1);{RUNNER[:-1]}:9) 19",
        "worker (thread.py:5) 900",
    ]
    assert list(tree("\n".join(stacks)).lines()) == [
        " 80.0 (50.0) handle (a.py)",
        " 30.0 (30.0)   read (b.py)",
        f" 19.0 (19.0) {LOOP}",
    ]
