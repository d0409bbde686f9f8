"""The real service for tests: in this process or as processes of its own, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any
from uuid import uuid4

import aiohttp

from infra import password_hasher as secrets
from infra.app import open_application, serve_http
from infra.http.operators.reference import REFERENCE
from infra.settings import Settings
from services.pipeline.method import BASE
from tests.programs import ROOT, begun

__all__ = [
    "OPERATOR_KEY",
    "PASSWORD",
    "PRODUCTION_COST",
    "ROOT",
    "Api",
    "Service",
    "environment",
    "in_process",
    "process",
]

Json = dict[str, Any]
Upload = tuple[str, bytes, str]

PRODUCTION_COST = secrets.COST
"""What a hash of a password costs; in the process of the tests, which make thousands, it costs less."""
secrets.COST = replace(secrets.COST, time_cost=1, memory_cost=64)

OPERATOR_KEY = "operator-key-of-the-tests-0123456789"
PASSWORD = "demo-password"


def environment(database_url: str, **more: str) -> dict[str, str]:
    """The settings of a service under test as environment variables."""
    return {
        "DATABASE_URL": database_url,
        "CRMLEDGER_PORT": "0",
        "CRMLEDGER_ADMIN_PORT": "0",
        "CRMLEDGER_DATA_DIR": tempfile.gettempdir(),
        "CRMLEDGER_TOKEN_SECRET": "token-secret-of-the-tests-0123456789",
        "CRMLEDGER_SERVICE_KEY": "service-key-of-the-tests-0123456789",
        "CRMLEDGER_OPERATOR_KEY": OPERATOR_KEY,
    } | more


@dataclass(frozen=True)
class Service:
    """Where a service answers, on which database; ``pid`` if it is a process of its own."""

    url: str
    admin_url: str
    http: aiohttp.ClientSession
    pid: int = 0
    process: asyncio.subprocess.Process | None = None
    database: str = ""

    async def send(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Json, Mapping[str, str]]:
        """One request: HTTP status, parsed body (``{}`` if it is no JSON), headers."""
        async with self.http.request(
            verb, self.url + path, params=query, data=data, headers=headers, allow_redirects=False
        ) as answer:
            raw = await answer.read()
            parsed = json.loads(raw) if "json" in answer.content_type else {"raw": raw}
            return answer.status, parsed, answer.headers

    async def metrics(self) -> str:
        """What a scrape of the second port gets."""
        async with self.http.get(f"{self.admin_url}/metrics") as answer:
            return await answer.text()

    async def answered(self, path: str) -> int:
        """How many calls this process has answered whose method, or path if it is none, begins so."""
        sample = rf'^crmledger_call_seconds_count\{{method="{re.escape(path)}[^"]*"\}} (\d+)'
        return sum(map(int, re.findall(sample, await self.metrics(), re.MULTILINE)))


@dataclass
class Api:
    """One organisation of a service, and a session of its user ``demo`` once there is a call."""

    service: Service
    organisation: str = field(default_factory=lambda: f"ORG{uuid4().hex[:12].upper()}")
    token: str = ""
    username: str = "demo"

    async def register(self, records: Sequence[Json]) -> None:
        """Registers reference records in order; raises when one is refused."""
        lines = b"\n".join(json.dumps(record).encode() for record in records)
        kind = records[0]["kind"]
        _, answer, _ = await self.service.send(
            "POST",
            f"{REFERENCE}{kind}",
            query={"organisation": self.organisation},
            data=lines,
            headers={"Authorization": f"Bearer {OPERATOR_KEY}"},
        )
        refused = answer["data"].get("refused") if answer["status"]["code"] == "OK" else answer
        assert not refused, refused

    async def login(self, username: str = "demo", password: str = PASSWORD, **more: str) -> str:
        """A new token."""
        body = {"username": username, "password": password, "organisation": self.organisation}
        answer = await self.open("authentication/token", body | more)
        assert answer["status"]["code"] == "OK", answer
        return str(answer["data"]["token"])

    async def open(self, path: str, body: Json, headers: Mapping[str, str] | None = None) -> Json:
        """A POST without a token of ours."""
        data = json.dumps(body).encode()
        _, answer, _ = await self.service.send("POST", BASE + path, data=data, headers=headers)
        return answer

    async def call(
        self,
        verb: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        raw_body: str | None = None,
        form: Mapping[str, str] | None = None,
        file: Upload | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """The parsed envelope; the session's token is added to the request."""
        self.token = self.token or await self.login(self.username)
        data: Any = None
        given: Json = dict(headers or {})
        if verb == "GET":
            query = {"token": self.token} | dict(query or {})
        elif form is not None or file is not None:
            data = _form({"token": self.token} | dict(form or {}), file)
        elif raw_body is not None:
            data = raw_body.replace("{", f'{{"token":"{self.token}",', 1).encode()
        else:
            data = json.dumps({"token": self.token} | (body or {})).encode()
        if isinstance(data, bytes):
            given.setdefault("Content-Type", "application/json")
        _, answer, _ = await self.service.send(
            verb, BASE + path, query=query if verb == "GET" else None, data=data, headers=given
        )
        return answer

    async def get(self, path: str, **query: Any) -> Any:
        """The data of a GET that must not fail."""
        return _data(
            path, await self.call("GET", path, query={k: str(v) for k, v in query.items()})
        )

    async def post(self, path: str, **body: Any) -> Any:
        """The data of a POST that must not fail."""
        return _data(path, await self.call("POST", path, body=body))

    async def refused(self, path: str, **body: Any) -> tuple[str, str]:
        """NAME and description with which a POST is refused."""
        return refusal(await self.call("POST", path, body=body))


def refusal(answer: Json) -> tuple[str, str]:
    """NAME of the contract's catalogue and description of an answer that is a refusal."""
    found = re.fullmatch(
        r"COM\.CRM\.EXCEPTION\.[A-Z]+\.([A-Z]+)EXCEPTION", answer["status"]["code"]
    )
    assert found, answer
    assert answer["data"] == {}
    return found[1], answer["status"]["description"]


def _data(path: str, answer: Json) -> Any:
    assert answer["status"] == {"code": "OK", "message": "", "description": ""}, (path, answer)
    return answer["data"]


def _form(fields: Mapping[str, str], file: Upload | None) -> aiohttp.MultipartWriter:
    writer = aiohttp.MultipartWriter("form-data")
    for name, value in fields.items():
        part = writer.append(value)
        part.set_content_disposition("form-data", name=name)
    if file is not None:
        file_name, content, declared = file
        part = writer.append(BytesIO(content), {"Content-Type": declared})  # type: ignore[arg-type]
        part.set_content_disposition(
            "form-data", quote_fields=False, name="file", filename=file_name
        )
    return writer


@asynccontextmanager
async def in_process(database_url: str, **more: str) -> AsyncIterator[Service]:
    """A service in this process."""
    settings = Settings.from_environment(environment(database_url, **more))
    async with (
        open_application(settings, database_url) as application,
        serve_http(application) as ports,
        aiohttp.ClientSession() as http,
    ):
        host = f"http://{settings.host}"
        yield Service(
            f"{host}:{ports.port}", f"{host}:{ports.admin_port}", http, database=database_url
        )


@asynccontextmanager
async def process(database_url: str, **more: str) -> AsyncIterator[Service]:
    """A service as a process of its own, killed at the end if it is still there."""
    child = await begun(environment(database_url, **more), "serve")
    try:
        async with asyncio.timeout(60):
            urls = await _announced(child)
        async with aiohttp.ClientSession() as http:
            yield Service(*urls, http, child.pid, child, database_url)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGKILL)
        await child.wait()


async def _announced(child: asyncio.subprocess.Process) -> tuple[str, str]:
    """The two addresses that a starting service prints."""
    assert child.stdout is not None
    found: list[str] = []
    while len(found) < 2:
        line = (await child.stdout.readline()).decode()
        assert line, "the service ended before it listened"
        found += re.findall(r"http://[0-9.]+:\d+", line)
    return found[0], found[1]
