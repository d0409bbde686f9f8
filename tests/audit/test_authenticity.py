"""Events that the database's owner has written or changed without the service key: nobody acts on them."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from infra.analytics.export import LEDGER, ExportError, Range, export
from infra.audit.seal_builder import seal_next
from infra.audit.sealer import signer_of
from infra.encryption import KeyRing
from infra.ledger.feed import Feed, LedgerCorruptedError
from infra.ledger.integrity import integrity_problems
from infra.projections.parked import list_parked
from infra.projections.projector import Projector
from infra.projections.temporal import TemporalViews
from infra.rebuild.verify import verify
from tests.fixtures.audit import Connection, tampering
from tests.fixtures.auditors import Auditor, auditor
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.ledgers import ORGANISATION, call_append, commit_of, connection_pool, record
from tests.fixtures.read_models import connection, keys_of
from tests.fixtures.service import RING, SERVICE_KEY, refusal, run_in_process

HASH = """
UPDATE ledger.events
   SET event_hash = ledger.event_hash(organisation, position, stream_id, version, topic, schema_version,
                                      subject, payload::text, metadata::text, recorded_at)
"""
LAST = "organisation = '{name}' AND stream_id = '{stream}' AND version = 2"
OTHER_USER = """replace(metadata::text, '"user":"', '"user":"1')::json"""
APPENDED = """
INSERT INTO ledger.events (organisation, position, stream_id, version, topic, schema_version, subject, payload,
       metadata, recorded_at, event_hash, mac)
SELECT organisation, (SELECT max(position) + 1 FROM ledger.events WHERE organisation = '{{name}}'), stream_id, {version},
       topic, schema_version, subject, payload, {metadata}, clock_timestamp(), '', {mac}
  FROM ledger.events WHERE organisation = '{{name}}' AND stream_id = {stream} AND version = {of}
"""
FORGERIES = {
    "another user": f"UPDATE ledger.events SET metadata = {OTHER_USER} WHERE {LAST}",
    "another payload": """UPDATE ledger.events SET payload = replace(payload::text, '"number"', '"number" ')::json"""
    " WHERE organisation = '{name}' AND stream_id = '{stream}' AND version = 1",
    "a space in the metadata": f"UPDATE ledger.events SET metadata = (metadata::text || ' ')::json WHERE {LAST}",
    "another topic": f"UPDATE ledger.events SET topic = 'contact_information.created' WHERE {LAST}",
    "another version of the form": f"UPDATE ledger.events SET schema_version = schema_version + 1 WHERE {LAST}",
    "no subject": f"UPDATE ledger.events SET subject = NULL WHERE {LAST}",
    "no MAC": f"UPDATE ledger.events SET mac = '' WHERE {LAST}",
    "only the id of the key": f"UPDATE ledger.events SET mac = substr(mac, 1, 8) WHERE {LAST}",
    "the MAC of another event": f"UPDATE ledger.events SET mac = (SELECT mac FROM ledger.events WHERE position = 1"
    f" AND organisation = '{{name}}') WHERE {LAST}",
    "the id of another key": f"UPDATE ledger.events SET mac = decode('0011223344556677', 'hex') || substr(mac, 9) WHERE {LAST}",
    "appended in another user's name": APPENDED.format(
        version=3, metadata=OTHER_USER, mac="mac", stream="'{stream}'", of=2
    ),
    "an event again": APPENDED.format(
        version=3, metadata="metadata", mac="mac", stream="'{stream}'", of=2
    ),
    "another entity's event": APPENDED.format(
        version=3, metadata="metadata", mac="mac", stream="'{other}'", of=2
    ).replace("stream_id, 3", "'{stream}', 3"),
    "versions exchanged": """
UPDATE ledger.events SET version = -version WHERE organisation = '{name}' AND stream_id = '{stream}';
UPDATE ledger.events SET version = 3 + version WHERE organisation = '{name}' AND stream_id = '{stream}'""",
}
"""What is done to a contact with two events, by what it is called; the hashes are made to fit."""


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
async def test_nobody_acts_on_it(database: str, tmp_path: Path, forgery: str) -> None:
    async with run_in_process(database) as service, tampering(database) as owner:
        past = await auditor(service)
        contact, other = [await changed_contact(past.desk) for _ in range(2)]
        name = past.desk.api.organisation
        assert await integrity_problems(owner, name, RING) == []
        names = {"name": name, "stream": UUID(contact), "other": UUID(other)}
        await owner.execute(forgery.format(**names))
        await owner.execute(HASH)
        await refused_by_the_service(past, owner, contact)
        await refused_by_workers(database, owner, name, contact)
        problems = await integrity_problems(owner, name, RING)
        assert any("was not written with the service key" in problem for problem in problems)
        with pytest.raises(ValueError, match="not written with the service key"):
            await verify(database, *keys_of(database))
        with pytest.raises(ExportError, match="not written with the service key"):
            await export(
                database,
                LEDGER,
                tmp_path / "ledger.csv",
                "csv",
                Range(),
                RING,
                total=lambda _: None,
                advance=lambda _: None,
            )
        assert list(tmp_path.iterdir()) == []
        assert re.search(r"crmledger_unauthentic_events_total [1-9]", await service.metrics())


async def changed_contact(desk: CommunicationsClient) -> str:
    """The id of a contact with two events."""
    contact = await desk.new_contact()
    await desk.update_contact(contact, last_name="Changed")
    return contact


async def refused_by_the_service(past: Auditor, owner: Connection, contact: str) -> None:
    """No command is decided on it, and no auditor is shown it."""
    before = await owner.fetchval("SELECT count(*) FROM ledger.events")
    named = {"contact_information_identifier": {"id": contact}}
    body = named | {"last_name": "Again"}
    answer = await past.desk.api.call("POST", "contact_information/update", body=body)
    assert refusal(answer)[0] == "INTERNALERROR"
    assert await owner.fetchval("SELECT count(*) FROM ledger.events") == before
    entity = f"contact_information/{contact}"
    for path, query in (("events", {}), ("history", {"entity": entity})):
        status, answer, _ = await past.ask(path, **query)
        assert (status, refusal(answer)[0]) == (500, "INTERNALERROR")


async def refused_by_workers(url: str, owner: Connection, name: str, contact: str) -> None:
    """No view counts it, no follower gets it, no seal covers it."""
    async with connection_pool(url) as pool:
        ring, zone = keys_of(url)
        projector = Projector(url, ring, TemporalViews(pool, ring, zone))
        await projector.once()
        parked = {(entity.view, entity.stream) for entity in await list_parked(owner)}
        assert parked == {
            (view, UUID(contact)) for view in ("daily_events", "history", "transitions")
        }
        assert len(await projector.retry()) == len(parked)
        await projector.close()
        with pytest.raises(LedgerCorruptedError, match="not written with the service key"):
            await Feed(pool, RING).read(name, 0, 1000)
    with pytest.raises(LedgerCorruptedError, match="not written with the service key"):
        await seal_next(owner, name, signer_of(SERVICE_KEY), RING)


async def test_the_owner_may_exchange_a_mac_and_nothing_else(database: str) -> None:
    """A new key takes over by it; a wrong one is found, as all forgeries are."""
    async with connection(database) as owner:
        await call_append(owner, commit_of(record()))
        await owner.execute("UPDATE ledger.events SET mac = mac")
        for column in ("payload", "metadata", "recorded_at", "event_hash", "stream_id"):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="append-only"):
                await owner.execute(f"UPDATE ledger.events SET mac = mac, {column} = {column}")


async def test_an_event_is_its_organisations_own(database: str) -> None:
    """The MAC of the same event in another organisation's ledger is another one."""
    async with connection(database) as owner:
        await call_append(owner, commit_of(record()))
        await owner.execute(
            "INSERT INTO ledger.events SELECT 'OTHER', position, stream_id, version, topic, schema_version,"
            " subject, payload, metadata, recorded_at, event_hash, mac FROM ledger.events"
        )
        assert await integrity_problems(owner, ORGANISATION, RING) == []
        problems = await integrity_problems(owner, "OTHER", RING)
        assert any("was not written with the service key" in problem for problem in problems)


async def test_any_listed_key_is_as_good(database: str) -> None:
    async with connection(database) as owner:
        await call_append(owner, commit_of(record()))
        after = KeyRing("the-next-service-key-0123456789-0123", SERVICE_KEY)
        assert await integrity_problems(owner, ORGANISATION, after) == []
        alone = await integrity_problems(owner, ORGANISATION, KeyRing("k" * 32))
        assert alone == ["position 1: record.registered was not written with the service key"]
