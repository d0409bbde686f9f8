"""What our append is measured against: other ways to write the same event to the same server."""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import asyncpg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore

from infra.postgres.embedded.placement import wheel_binaries
from infra.postgres.embedded.server import EmbeddedPostgres
from tests.bench.measure import Run, in_tasks, in_threads
from tests.bench.results import Outcome
from tests.fixtures.databases import database

__all__ = ["Sample", "function_call", "library", "pgbench", "place"]

MOST = 15_000
"""Commands a second for which events are made beforehand."""

TABLE = """
CREATE TABLE stored_events (
    originator_id uuid NOT NULL, originator_version bigint NOT NULL, topic text, state bytea,
    notification_id bigserial UNIQUE, PRIMARY KEY (originator_id, originator_version))
"""
FUNCTION = """
CREATE FUNCTION write_event(in_stream uuid, in_expected bigint, in_topic text, in_state bytea)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
    position bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(1);
    SELECT coalesce(max(originator_version), 0) INTO last FROM stored_events WHERE originator_id = in_stream;
    IF last <> in_expected THEN
        RAISE EXCEPTION 'version % is not %', last, in_expected;
    END IF;
    INSERT INTO stored_events (originator_id, originator_version, topic, state)
    VALUES (in_stream, in_expected + 1, in_topic, in_state) RETURNING notification_id INTO position;
    RETURN position;
END $$
"""
CALL = "SELECT write_event($1, $2, $3, $4)"
INSERT = (
    "INSERT INTO stored_events (originator_id, originator_version, topic, state)"
    " VALUES (gen_random_uuid(), 1, '{topic}', '\\x{state}');\n"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """An event as stored bytes."""

    topic: str
    state: bytes


def place(url: str) -> dict[str, str]:
    """Where a database is, by the names that libpq and psycopg use."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    return {
        "dbname": parts.path[1:],
        "host": query["host"][0],
        "port": query["port"][0],
        "user": parts.username or "",
    }


def library(postgres: EmbeddedPostgres, sample: Sample, writers: int) -> Run:
    """The library's recorder as it comes: threads, a table lock per save, so that no reader skips."""

    async def run(seconds: float) -> Outcome:
        events = [
            [StoredEvent(uuid4(), 1, sample.topic, sample.state)]
            for _ in range(int(MOST * seconds))
        ]
        async with database(postgres, "template0") as url:
            recorder = await asyncio.to_thread(_recorder, url, writers)
            try:
                return await in_threads(events, recorder.insert_events, writers, seconds)
            finally:
                await asyncio.to_thread(recorder.datastore.close)

    return run


def _recorder(url: str, writers: int) -> PostgresApplicationRecorder:
    at = place(url)
    datastore = PostgresDatastore(
        at["dbname"],
        at["host"],
        at["port"],
        at["user"],
        "",
        pool_size=writers,
    )
    datastore.pool.open(wait=True, timeout=30)
    recorder = PostgresApplicationRecorder(datastore)
    recorder.create_table()
    return recorder


def function_call(postgres: EmbeddedPostgres, sample: Sample, writers: int) -> Run:
    """One call of a stored function per command, as message-db does: lock, check, insert."""

    async def run(seconds: float) -> Outcome:
        streams = [uuid4() for _ in range(int(MOST * seconds))]
        async with database(postgres, "template0") as url:
            connections = [await asyncpg.connect(url) for _ in range(writers)]
            await connections[0].execute(TABLE)
            await connections[0].execute(FUNCTION)

            async def act(writer: int, stream: UUID) -> None:
                arguments = (stream, 0, sample.topic, sample.state)
                await connections[writer].fetchval(CALL, *arguments)

            try:
                return await in_tasks(streams, act, writers, seconds)
            finally:
                for connection in connections:
                    await connection.close()

    return run


def pgbench(postgres: EmbeddedPostgres, sample: Sample, writers: int) -> Run:
    """PostgreSQL's own benchmark program: one prepared INSERT per transaction."""

    async def run(seconds: float) -> Outcome:
        async with database(postgres, "template0") as url:
            connection = await asyncpg.connect(url)
            await connection.execute(TABLE)
            await connection.execute("CHECKPOINT")
            await connection.close()
            with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
                script.write(INSERT.format(topic=sample.topic, state=sample.state.hex()))
                script.flush()
                return await _pgbench(url, Path(script.name), writers, seconds)

    return run


async def _pgbench(url: str, script: Path, writers: int, seconds: float) -> Outcome:
    at = place(url)
    to = ("-h", at["host"], "-p", at["port"], "-U", at["user"])
    how = ("-n", "-M", "prepared", "-c", str(writers), "-j", str(min(writers, 2)))
    child = await asyncio.create_subprocess_exec(
        str(wheel_binaries() / "pgbench"),
        *(*to, *how, "-T", str(max(1, round(seconds))), "-f", str(script), at["dbname"]),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await child.communicate()
    found = re.search(r"^tps = ([0-9.]+)", out.decode(), re.MULTILINE)
    assert found, err.decode()
    return Outcome(float(found[1]))
