"""No password, key or token is kept or logged: contract authentication.md, section 2."""

from __future__ import annotations

import base64
import logging
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog

from infra.observability.logs import configure_logs
from tests.fixtures.communications import CommunicationsClient, communications_client
from tests.fixtures.organisation import UNIT, query_rows
from tests.fixtures.service import OPERATOR_KEY, Service, environment

Json = dict[str, Any]


async def traces_of(database: str, secrets: list[str]) -> list[str]:
    """The tables of the ledger and the views in which a secret stands, as text or as bytes."""
    connection = await asyncpg.connect(database)
    forms = [(secret, form) for secret in secrets for form in (secret, secret.encode().hex())]
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname IN ('ledger', 'views')"
        )
        assert len(tables) > 10
        return [
            f"{table['name']}: {secret}"
            for table in tables
            for secret, form in forms
            if await connection.fetchval(
                f"SELECT EXISTS (SELECT FROM {table['name']} t"
                " WHERE strpos(lower(t::text), $1) > 0)",
                form.lower(),
            )
        ]
    finally:
        await connection.close()


async def calls(own: CommunicationsClient, secrets: dict[str, str]) -> list[str]:
    """Logs in, right and wrong, by password and key, calls and releases; the tokens it got."""
    api, key = own.api, secrets["key"]
    await own.register(
        "user", "S", username="s", default_unit_id=UNIT, password=secrets["password"]
    )
    await own.register("web_api_key", "S", classification="SYSTEMIC_KEY", user_id="S", key=key)
    named: Json = {"username": "s", "organisation": api.organisation}
    headers = {"Idempotency-Key": uuid4().hex}
    tokens = []
    for password in (secrets["password"], secrets["wrong"], secrets["password"]):
        body = named | {"password": password}
        tokens.append((await api.open("authentication/token", body, headers))["data"].get("token"))
    for text in (f"{key}:", f"{key}:{secrets['wrong']}", secrets["wrong"]):
        basic = {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"} | headers
        answer = await api.open("authentication/web_api_key/token", {}, basic)
        tokens.append(answer["data"].get("token"))
    got = [token for token in tokens if token]
    assert len(got) == 3
    body = own.creation_body(token=got[0])
    await api.open("communications/create", body, {"Idempotency-Key": uuid4().hex})
    await api.service.send(
        "GET", "/crmapi/rest/v2/communications/list", query={"token": got[0], "media": "x"}
    )
    await api.open("authentication/token/release", {"token": got[1]}, headers)
    await api.open("authentication/token/release", {"token": got[1][:-1]})
    return got


async def test_nothing_secret_is_kept_or_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    own = await communications_client(service)
    secrets = {
        "password": f"password-{uuid4().hex}",
        "wrong": f"mistyped-{uuid4().hex}",
        "key": uuid4().hex,
    }
    with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as logs:
        tokens = await calls(own, secrets)
    told = str(logs) + caplog.text
    assert "authentication/token" in told
    hidden = [*secrets.values(), *tokens, *(token.rpartition(".")[2] for token in tokens)]
    hidden += [OPERATOR_KEY, environment("")["CRMLEDGER_TOKEN_SECRET"]]
    assert [secret for secret in hidden if secret.lower() in told.lower()] == []
    assert await traces_of(service.database, hidden) == []


async def test_a_failure_that_nobody_foresaw_tells_no_values(
    service: Service, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the answer nor the log of an unexpected failure shows what the call carried."""
    own = await communications_client(service)
    token = await own.api.login()
    subject = f"private-{uuid4().hex}"

    def broken(text: str, *_: Any) -> str:
        raise LookupError(text)

    monkeypatch.setattr("services.communications.tags.resolve", broken)
    handlers, before = logging.getLogger().handlers[:], structlog.get_config()
    try:
        configure_logs()
        structlog.configure(cache_logger_on_first_use=False)
        body = own.creation_body(token=token, subject=subject, content=subject)
        answer = await own.api.open("communications/create", body)
    finally:
        logging.getLogger().handlers[:] = handlers
        structlog.configure(**before)
    assert answer["status"]["code"].endswith(".INTERNALERROREXCEPTION")
    assert answer["data"] == {}
    said = "".join(capfd.readouterr())
    assert "LookupError" in said
    assert "services/communications/tags.py" in said
    for secret in (subject, token):
        assert secret not in said
        assert secret not in str(answer)


async def test_texts_stand_in_no_event_in_clear_and_in_no_log(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """What is said to a contact is personal: events hold it encrypted, logs do not hold it."""
    own = await communications_client(service)
    said = [f"private-{n}-{uuid4().hex}" for n in range(8)]
    with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as logs:
        parameter = {"type": "STRING", "name": "n", "string_value": said[4]}
        draft = await own.create_draft(
            subject=said[0],
            content=said[1],
            notes=said[2],
            media="EMAIL",
            to=f"{said[3]}@b",
            udf_string_1=said[5],
            unrestricted_parameter_set=[parameter],
        )
        await own.call("update", draft, notes=said[6], life_cycle_state="COMPLETED")
        [entry] = await own.api.get("communications/queue/get_latest", media="EMAIL", number=1)
        await own.call_queue("reject", entry, error_description=said[7])
        await own.call_refused("update", draft, notes=said[0])
    told = str(logs) + caplog.text
    found = await query_rows(
        own.api, "SELECT e::text AS event FROM ledger.events e WHERE organisation = $1"
    )
    written = "".join(row["event"] for row in found)
    assert "communication.amended" in written
    assert "queue_entry.rejected" in written
    assert [text for text in said if text in told or text in written] == []
