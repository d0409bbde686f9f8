"""What is another customer's costs a customer the same look-ups as what there is not (common.md, section 11)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import asyncpg
import pytest_asyncio

from domain.identifiers import Identifier
from infra.store.context_loader import _arguments
from infra.store.context_sql import context_statement
from infra.views.queries import LIVE_SCHEMA
from services.context import ConsumerScope, ContextQuery
from tests.fixtures.access_tokens import ConsumerSession, TokensClient, tokens_client, unique_code
from tests.fixtures.read_models import connection
from tests.fixtures.service import Service

Json = dict[str, Any]
LOOK_UPS = """
SELECT relname, idx_scan, seq_scan FROM pg_stat_xact_user_tables
 WHERE schemaname = 'views' AND relname IN ('entities', 'identifiers') ORDER BY relname
"""
MISSING = {"id": uuid4().hex.upper(), "number": "NONE1", "authentication_code": "none"}


@pytest_asyncio.fixture(scope="module")
async def client(service: Service) -> TokensClient:
    return await tokens_client(service)


@pytest_asyncio.fixture(scope="module")
async def own(client: TokensClient) -> ConsumerSession:
    return await client.consumer_session()


@pytest_asyncio.fixture(scope="module")
async def foreign(client: TokensClient, own: ConsumerSession) -> dict[tuple[str, str], str]:
    """Another customer's entities of each kind that customers may name, by kind and field."""
    other = await client.consumer_session()
    contact = {"contact_information_identifier": {"id": other.contact}}
    said = await client.create(**contact, direction="INCOMING")
    queued = await client.create_email(**contact)
    through = await client.create_keyed_token(
        rewards_participant_identifier={"id": other.participant}, authentication_code=unique_code()
    )
    subscription = unique_code("S")
    await client.register(
        "subscription", subscription, number=subscription, accounts_receivable_id=other.account
    )
    return {
        ("contact_information", "id"): other.contact,
        ("communication", "id"): said["id"],
        ("communication", "number"): said["number"],
        ("communication_queue", "id"): queued["id"],
        ("access_token", "id"): through["id"],
        ("access_token", "number"): through["number"],
        ("access_token", "authentication_code"): through["authentication_code"],
        ("accounts_receivable", "id"): other.account,
        ("accounts_receivable", "number"): other.account,
        ("rewards_participant", "id"): other.participant,
        ("subscription", "number"): subscription,
    }


async def looked_up(
    asked: asyncpg.Connection, organisation: str, customer: ConsumerScope, named: Identifier
) -> tuple[list[Any], list[tuple[Any, ...]]]:
    """What is found, and how often each table was searched."""
    query = ContextQuery(identifiers=(named,), customer=customer)
    statement = context_statement(LIVE_SCHEMA, None)
    async with asked.transaction():
        before = await asked.fetch(LOOK_UPS)
        (row,) = await asked.fetch(statement, organisation, *_arguments([query]))
        after = await asked.fetch(LOOK_UPS)
    counts = [
        (new["relname"], new["idx_scan"] - old["idx_scan"], new["seq_scan"] - old["seq_scan"])
        for old, new in zip(before, after, strict=True)
    ]
    return list(row["matches"]), counts


async def test_nobody_learns_from_the_work_what_others_have(
    client: TokensClient, own: ConsumerSession, foreign: dict[tuple[str, str], str]
) -> None:
    customer = ConsumerScope(own.contact, own.account)
    async with connection(client.api.service.database) as asked:
        for (kind, field), value in foreign.items():
            costs: list[Any] = []
            for text in (value, MISSING[field]):
                named = Identifier(kind, field, text, kind)
                found, counts = await looked_up(asked, client.api.organisation, customer, named)
                assert found == []
                costs.append(counts)
            assert costs[0] == costs[1], (kind, field)
            assert sum(searched for _, searched, _ in costs[0]) > 1
