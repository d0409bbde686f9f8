"""Places inside an append at which a test can stop it, made in the test's own database.

`Failpoints.stopped` is the moment at which some append has come to an armed place and waits there;
it is seen in the server's own list of locks, so nothing depends on time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

__all__ = ["LOCK", "PLACES", "Failpoints", "failpoints", "patched"]

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

LOCK = "PERFORM pg_advisory_xact_lock(ledger.append_lock(in_organisation));"
PLACES = ("arrived", "locked", "inserted", "viewed", "committing")
GATE = 4711

SCHEMA = f"""
CREATE SCHEMA faults;
CREATE TABLE faults.armed (place text);
CREATE FUNCTION faults.pause(in_place text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM faults.armed WHERE place = in_place) THEN
        -- The test may take longer than a caller would wait for a lock.
        PERFORM set_config('lock_timeout', '0', true);
        PERFORM pg_advisory_lock_shared({GATE});
        PERFORM pg_advisory_unlock_shared({GATE});
    END IF;
END $$;
CREATE FUNCTION faults.pausing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM faults.pause(TG_ARGV[0]);
    RETURN NULL;
END $$;
CREATE TRIGGER inserted AFTER INSERT ON ledger.events
    FOR EACH STATEMENT EXECUTE FUNCTION faults.pausing('inserted');
CREATE TRIGGER viewed AFTER INSERT OR UPDATE ON views.contacts
    FOR EACH STATEMENT EXECUTE FUNCTION faults.pausing('viewed');
CREATE CONSTRAINT TRIGGER committing AFTER INSERT ON ledger.events DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION faults.pausing('committing');
GRANT USAGE ON SCHEMA faults TO PUBLIC;
"""
STOPPED = f"""
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {GATE} AND NOT granted
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Failpoints:
    """The test's own connection, which opens and closes the gate."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def arm(self, place: str) -> None:
        """From now on, appends wait at this place."""
        await self.connection.execute(f"SELECT pg_advisory_lock({GATE})")
        await self.connection.execute("INSERT INTO faults.armed VALUES ($1)", place)

    async def stopped(self) -> int:
        """The server's process that waits at the place, as soon as there is one."""
        async with asyncio.timeout(60):
            while not (pid := await self.connection.fetchval(STOPPED)):
                await asyncio.sleep(0.01)
        return int(pid)

    async def release(self) -> None:
        """Lets all go on, now and later."""
        await self.connection.execute("DELETE FROM faults.armed")
        await self.connection.execute(f"SELECT pg_advisory_unlock({GATE})")


@asynccontextmanager
async def failpoints(url: str) -> AsyncIterator[Failpoints]:
    """Builds the places into the database at ``url``; none is armed."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SCHEMA)
        around = f"PERFORM faults.pause('arrived');\n{LOCK}\nPERFORM faults.pause('locked');"
        await patched(connection, "append", LOCK, around)
        yield Failpoints(connection)
    finally:
        await connection.close()


async def patched(connection: Connection, function: str, old: str, new: str) -> None:
    """Replaces a piece of a function of the ledger, which must be there."""
    sql = f"SELECT pg_get_functiondef('ledger.{function}'::regproc)"
    text = await connection.fetchval(sql)
    assert old in text, f"ledger.{function} does not say {old!r}"
    await connection.execute(text.replace(old, new))
