"""What an append costs does not depend on how much there is: no statement of it may read what it does not write."""

from __future__ import annotations

import asyncpg
import orjson
import pytest

from infra.ledger.commit_batch import append_arguments, encode_commit
from services.ports import Commit
from tests.bench.examples import caught, fresh
from tests.fixtures.read_models import connection
from tests.fixtures.service import RING

ARGUMENTS = ", ".join(f"${n}" for n in range(1, 6))
EXPLAIN = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM ledger.append({ARGUMENTS})"
MANY = 4_000
EVENTS = """
INSERT INTO ledger.events
SELECT e.organisation, h.head + n, gen_random_uuid(), e.version, e.topic, e.schema_version, e.subject, e.payload,
       e.metadata, e.recorded_at, e.event_hash, e.mac
  FROM (SELECT max(position) AS head FROM ledger.events WHERE organisation = $1) AS h,
       LATERAL (SELECT * FROM ledger.events WHERE organisation = $1 ORDER BY position DESC LIMIT 1) AS e,
       generate_series(1, $2::integer) AS n
"""
NAMES = """
INSERT INTO views.identifiers SELECT $1, 'communication', 'number', 'X' || n, 'X' || n, false
  FROM generate_series(1, $2::integer) AS n
"""
CLAIMS = """
INSERT INTO ledger.claims SELECT $1, 'claim ' || n, gen_random_uuid() FROM generate_series(1, $2::integer) AS n
"""
SECRETS = """
INSERT INTO ledger.secrets (organisation, key_id, owner, name, verifier, expires_at)
SELECT $1, 'k' || n, 'access_token/' || n, 'pass_code', 'v' || n, NULL FROM generate_series(1, $2::integer) AS n
"""
KEYS = """
INSERT INTO ledger.personal_keys (organisation, subject, wrapped)
SELECT $1, gen_random_uuid(), decode(repeat('00', 400), 'hex') FROM generate_series(1, $2::integer)
"""
PHOTOS = """
INSERT INTO ledger.photos (organisation, id, contact, file_name, mime_type, content)
SELECT $1, 'p' || n, 'c' || n, '', 'image/png', '' FROM generate_series(1, $2::integer) AS n
"""
STREAM = "01980000-0000-7000-8000-000000000000"
CLAIM = {"claim": "claim 1", "stream": STREAM}
SECRET = {"key_id": "k", "owner": "access_token/1", "name": "pass_code", "verifier": "v"}
EFFECTS = {
    "release": [CLAIM],
    "take": [CLAIM],
    "release_worldwide": [CLAIM],
    "secrets": [SECRET],
    "drop_secrets": [SECRET],
    "forgive": ["access_token/1"],
    "drop_photo_of": "c1",
}
WRITE = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT ledger.write_side_effects($1, ARRAY[$2::jsonb], now())"
ANSWERS = """
INSERT INTO ledger.stored_responses (organisation, key, caller, command, request_hash, response, recorded_at)
SELECT $1, 'k' || n, '1/', 'c' || n, '', '', clock_timestamp() FROM generate_series(1, $2::integer) AS n
"""


async def pages(owner: asyncpg.Connection, organisation: str, change: Commit) -> int:
    """How many pages an append looks at; it is taken back."""
    arguments = append_arguments([encode_commit(RING, organisation, fresh(change))])
    transaction = owner.transaction()
    await transaction.start()
    now = await owner.fetchval("SELECT clock_timestamp() + interval '1 minute'")
    plan = orjson.loads(await owner.fetchval(EXPLAIN, organisation, now, *arguments))
    await transaction.rollback()
    top = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


@pytest.mark.parametrize("known", [False, True], ids=["without statistics", "with statistics"])
async def test_an_append_reads_as_much_of_a_long_ledger_as_of_a_short_one(
    database: str, known: bool
) -> None:
    life = await caught(database)
    async with connection(database) as owner:
        # As the service's connections are set, and with every plan made while the tables were small.
        await owner.execute("SET plan_cache_mode = force_generic_plan")
        for _ in range(2):
            short = await pages(owner, life.organisation, life.received)
        for statement in (EVENTS, NAMES, ANSWERS, KEYS):
            await owner.execute(statement, life.organisation, MANY)
        if known:
            await owner.execute("ANALYZE")
        for _ in range(2):
            long = await pages(owner, life.organisation, life.received)
        assert long < short + 100, (short, long)


async def test_what_a_command_changes_beside_events_is_found_by_its_key(database: str) -> None:
    life = await caught(database)

    async def costs(owner: asyncpg.Connection) -> dict[str, int]:
        found = {}
        for kind, value in EFFECTS.items():
            transaction = owner.transaction()
            await transaction.start()
            wanted = orjson.dumps({kind: value}).decode()
            plan = orjson.loads(await owner.fetchval(WRITE, life.organisation, wanted))[0]["Plan"]
            await transaction.rollback()
            found[kind] = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
        return found

    async with connection(database) as owner:
        await owner.execute("SET plan_cache_mode = force_generic_plan")
        for _ in range(2):
            short = await costs(owner)
        for statement in (CLAIMS, SECRETS, PHOTOS, ANSWERS):
            await owner.execute(statement, life.organisation, MANY)
        for _ in range(2):
            long = await costs(owner)
    assert {kind: long[kind] for kind in long if long[kind] > short[kind] + 30} == {}
