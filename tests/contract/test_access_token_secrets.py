"""No secret of an access token is kept in a usable form: contract access_tokens.md, section 8."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
import structlog

from tests.fixtures.access_tokens import (
    LOGIN,
    ON,
    TokensClient,
    basic,
    by_code,
    by_pass_code,
    tokens_client,
    try_secrets,
    unique_code,
)
from tests.fixtures.service import Service, run_in_process

Json = dict[str, Any]
DIGESTS = ("md5", "sha1", "sha256", "sha512")
ACCOUNT = "accounts_receivable_identifier"


def forms(secret: str) -> Iterator[str]:
    """A secret in clear, and as every digest that needs no key; as text, hex and base64."""
    raw = secret.encode()
    yield secret
    for content in (
        raw,
        *(hashlib.new(name, raw, usedforsecurity=False).digest() for name in DIGESTS),
    ):
        yield content.hex()
        yield base64.b64encode(content).decode().rstrip("=")
        yield base64.urlsafe_b64encode(content).decode().rstrip("=")


async def dump(url: str) -> dict[str, str]:
    """Every row of every table as text, bytes in hex and in base64; in lower case."""
    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        found = {}
        for (name,) in tables:
            rows = await connection.fetch(f"SELECT t, t::text FROM {name} t")
            parts = [row[1] for row in rows]
            parts += [
                base64.b64encode(value).decode() + value.decode("latin-1")
                for row in rows
                for value in row[0].values()
                if isinstance(value, bytes)
            ]
            found[name] = "\n".join(parts).lower()
        return found
    finally:
        await connection.close()


def places(texts: dict[str, str], secret: str) -> set[str]:
    """Where a secret stands in a form in which it could be used, or found out."""
    wanted = {form.lower() for form in forms(secret)}
    return {name for name, text in texts.items() if any(form in text for form in wanted)}


class Life:
    """Makes and uses every kind of secret, rightly and wrongly; keeps what was secret."""

    def __init__(self, made: TokensClient) -> None:
        self.made = made
        self.secrets: dict[str, str] = {}
        self.bodies: list[tuple[str, Json]] = []

    def secret(self, what: str, value: str | None = None) -> str:
        self.secrets[what] = value or f"{what.title()}-{uuid4().hex}-7!"
        return self.secrets[what]

    async def call(self, path: str, body: Json, *, name: str = "OK") -> Any:
        """A call with an Idempotency-Key of its own, so that its answer is kept."""
        self.bodies.append((path, body))
        headers = {"Idempotency-Key": unique_code()} | basic(self.made.key)
        token = {} if path.startswith("authentication") else {"token": self.made.api.token}
        answer = await self.made.api.open(path, body | token, headers)
        code = answer["status"]["code"]
        assert code == "OK" if name == "OK" else f".{name}EXCEPTION" in code, answer
        return answer["data"]

    async def run(self) -> None:
        """Everything that can happen to them."""
        of = {ACCOUNT: {"id": await self.made.create_owned_token()}}
        code = self.secret("authentication-code")
        token: Json = {
            "authentication_code": code,
            "identifier": self.secret("identifier"),
            "pass_code": self.secret("first-pass-code"),
            "classification_identifier": {"name": "Verified"},
        }
        token = token | await self.call("access_tokens/create", token | of)
        self.secret("first-verification-code", token["verification_code"])
        again = await self.call("access_tokens/reset_verification_code", by_code(token))
        right = self.secret("verification-code", again["verification_code"])
        wrong = self.secret("wrong-verification-code")
        new = {"pass_code": self.secret("second-pass-code")}
        for given, name in ((wrong, "INVALIDVERIFICATIONCODE"), (right, "OK")):
            body = {ON: by_code(token), "verification_code": given} | new
            await self.call("access_tokens/verify", body, name=name)
        await self.passes(token)
        await self.passwords(token)

    async def passes(self, token: Json) -> None:
        shown = by_pass_code(token, self.secrets["second-pass-code"])
        bad = by_pass_code(token, self.secret("wrong-pass-code"))
        third = {"pass_code": self.secret("third-pass-code")}
        await self.call("access_tokens/update", {ON: bad}, name="ENTITYNOTFOUND")
        await self.call("access_tokens/update", {ON: shown} | third)
        reset = await self.call("access_tokens/reset_pass_code", by_code(token))
        random = self.secret("random-pass-code", reset["random_pass_code"])
        shown = by_pass_code(token, random)
        await self.call("access_tokens/show", {ON: shown})
        named = {"organisation": self.made.api.organisation}
        for path, more in ((LOGIN, named), ("authentication/consumer_application_key/token", {})):
            for given, name in ((bad, "INVALIDCREDENTIALS"), (shown, "OK")):
                data = await self.call(path, {ON: given} | more, name=name)
                if data:
                    self.secret(f"session {path}", data["token"])

    async def passwords(self, token: Json) -> None:
        for n in range(2):
            made = await self.call("access_tokens/generate_otp", {ON: by_code(token)})
            password = self.secret(f"password {n}", made["one_time_password"])
        wrong = self.secret("wrong-password")
        for given, name in ((wrong, "INVALIDONETIMEPASSWORD"), (password, "OK")):
            path, body = self.made.reference_to({"one_time_password": given})
            await self.call(path, body, name=name)
        await self.call("access_tokens/generate_otp", {ON: by_code(token)})

    def digests(self) -> Iterator[tuple[str, str]]:
        """What would let a secret be found by trying: digests of all that was sent with it."""
        for path, body in self.bodies:
            for said in (body, [path, "1", body, {}]):
                for order in ("sorted", None):
                    text = msgspec.json.encode(said, order=order).decode()  # type: ignore[arg-type]
                    yield f"body of {path}", text


async def test_nothing_usable_is_kept_logged_or_measured(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Six digits occur anywhere by chance; these do not.
    monkeypatch.setattr("services.access_tokens.methods.digits", lambda _: str(uuid4().int))
    monkeypatch.setattr(
        "services.access_tokens.methods.random_pass_code", lambda _: f"Random-{uuid4().hex}"
    )
    async with run_in_process(database) as service:
        made = await tokens_client(service)
        made.api.token = await made.api.login()
        life = Life(made)
        with caplog.at_level(logging.DEBUG), structlog.testing.capture_logs() as logs:
            await life.run()
        told = {"logs": (str(logs) + caplog.text).lower(), "metrics": await metrics(service)}
        texts = await dump(database) | told
    assert len(life.secrets) > 12
    assert "access_tokens/verify" in told["logs"]
    assert "access_tokens/verify" in told["metrics"]
    clear = [life.secrets.pop(name) for name in ("authentication-code", "identifier")]
    found = {name: places(texts, secret) for name, secret in life.secrets.items()}
    assert {name: where for name, where in found.items() if where} == {}
    assert [name for name, text in life.digests() if places(texts, text)] == []
    for code in clear:
        where = places(texts, code)
        assert "views.access_tokens" in where
        assert {name for name in where if not name.startswith("views.")} == {"ledger.claims"}


async def metrics(service: Service) -> str:
    return (await service.metrics()).lower()


async def test_pass_codes_are_hashed_slowly_and_short_codes_with_a_key(service: Service) -> None:
    made = await tokens_client(service)
    token = await made.create_pending_token(identifier=unique_code(), pass_code="Pass-Code1")
    other = await made.create_token(**{ACCOUNT: {"id": "AR1"}})
    password = await made.one_time_password(other)
    connection = await asyncpg.connect(service.database)
    try:
        kept = {
            (row["owner"], row["name"]): row["verifier"]
            for row in await connection.fetch(
                "SELECT owner, name, verifier FROM ledger.secrets WHERE organisation = $1",
                made.api.organisation,
            )
        }
    finally:
        await connection.close()
    owner = f"access_token/{token['id']}"
    assert kept[owner, "pass_code"].startswith("$argon2id$")
    codes = {
        kept[owner, "verification_code"]: token["verification_code"],
        kept[f"access_token/{other['id']}", "one_time_password"]: password,
    }
    for verifier, code in codes.items():
        key_id, _, digest = verifier.partition(":")
        assert (len(bytes.fromhex(key_id)), len(bytes.fromhex(digest))) == (8, 48)
        assert places({"kept": verifier}, code) == set()


async def test_verifiers_go_with_what_they_verify(service: Service) -> None:
    """A used, void or replaced secret leaves no verifier behind; events keep key ids only."""
    made = await tokens_client(service)
    made.api.token = await made.api.login()

    async def names(token: Json) -> list[str]:
        connection = await asyncpg.connect(service.database)
        try:
            found = await connection.fetch(
                "SELECT name FROM ledger.secrets WHERE owner = $1 ORDER BY 1",
                f"access_token/{token['id']}",
            )
            return [row["name"] for row in found]
        finally:
            await connection.close()

    account = {ACCOUNT: {"id": "AR1"}}
    token = await made.create_pending_token(
        identifier=unique_code(), pass_code="Pass-Code1", **account
    )
    assert await names(token) == ["pass_code", "verification_code"]
    await made.call_token("reset_verification_code", token)
    code = (await made.call_token("reset_verification_code", token))["verification_code"]
    await made.call_token("verify", token, verification_code=code)
    assert await names(token) == ["pass_code"]
    for _ in range(2):
        password = await made.one_time_password(token)
    assert await names(token) == ["one_time_password", "pass_code"]
    path, body = made.reference_to({"one_time_password": password})
    assert await try_secrets(made.api, path, body) == ("OK", 0)
    assert await names(token) == ["pass_code"]
    await made.one_time_password(token)
    await made.call_token("reset_pass_code", token)
    assert await names(token) == ["pass_code"]
    await made.one_time_password(token)
    await made.call_token("update", token, identifier=None)
    assert await names(token) == []


async def test_kept_answers_are_sealed(service: Service) -> None:
    made = await tokens_client(service)
    made.api.token = await made.api.login()
    key = unique_code("key")
    body = {"classification_identifier": {"name": "Verified"}}
    path, headers = "access_tokens/create", {"Idempotency-Key": key}
    assert await try_secrets(made.api, path, body, headers) == ("OK", 0)
    connection = await asyncpg.connect(service.database)
    try:
        kept = await connection.fetchval(
            "SELECT response FROM ledger.stored_responses WHERE key = $1", key
        )
    finally:
        await connection.close()
    assert kept[:1] == b"\x01"
    assert b"verification_code" not in kept
