"""Golden files: reading them, and playing one against the service.

A file is a scene: what is given (reference records, contacts, earlier calls and, where it matters,
records that change after them), one call, and the whole answer expected. `@alias.path` anywhere in
it stands for a value of an entity created earlier; the alias names a contact or an earlier call,
the path leads into its `data`.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "GOLDEN",
    "Api",
    "Case",
    "Scene",
    "base_records",
    "cases",
    "mentions",
    "requested_fields",
]

GOLDEN = Path(__file__).parent / "golden"
MENTION = re.compile(r"(?<![\w.+-])@(?P<alias>[a-z]\w*)(?P<path>(?:\.\w+)+)")
"""No word character before the `@`: an e-mail address in an example is no mention."""

Json = dict[str, Any]
Upload = tuple[str, bytes, str]
"""A file of a multipart call: its name, its bytes, the content type declared for it."""


class Api(Protocol):
    """The fixture `api`: the running service, with an organisation and a session of its own."""

    @property
    def organisation(self) -> str: ...

    async def register(self, records: list[Json]) -> None:
        """Register reference records in order; raises when one is refused."""

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
    ) -> Json:
        """The parsed envelope; the session's token is added to the request."""


@dataclass(frozen=True)
class Case:
    """One golden file."""

    name: str
    content: Json

    @property
    def given(self) -> Json:
        return dict(self.content["given"])

    @property
    def call(self) -> Json:
        return dict(self.content["call"])

    @property
    def method(self) -> str:
        return str(self.call["path"])

    @property
    def response(self) -> Json:
        return dict(self.content["response"])


def cases() -> list[Case]:
    """Every golden file, by name; index.json and base.jsonl are none."""
    files = sorted(GOLDEN.glob("*/**/*.json"))
    return [
        Case(path.relative_to(GOLDEN).as_posix(), json.loads(path.read_text("utf-8")))
        for path in files
    ]


def base_records() -> list[Json]:
    """The records every scene starts with, in link order."""
    lines = (GOLDEN / "base.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def mentions(value: object) -> Iterator[re.Match[str]]:
    """Every `@alias.path` in a value, at any depth."""
    if isinstance(value, str):
        yield from MENTION.finditer(value)
    elif isinstance(value, dict):
        for inner in value.values():
            yield from mentions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from mentions(inner)


def requested_fields(call: Json) -> frozenset[str] | None:
    """The names in the call's `fields_set`; None when it asks for everything."""
    raw = call.get("raw_body")
    if raw is not None:
        found = re.search(r'"fields_set"\s*:\s*"([^"]*)"', raw)
        names = found[1] if found else None
    else:
        parameters = call.get("body") or call.get("query") or call.get("form") or {}
        names = parameters.get("fields_set")
    return frozenset(name.strip() for name in names.split(",")) if names else None


@dataclass
class Scene:
    """A case being played: knows the entities created so far by their alias."""

    api: Api
    known: dict[str, Any] = field(default_factory=dict)

    async def prepare(self, given: Json) -> None:
        """Bring about the state the case starts from.

        Records come before contacts, which may name them; but from the first record on that
        mentions a contact they come after the contacts, so that link order is kept.
        """
        early, late = split_records(given["records"])
        await self.register([*base_records(), *early])
        for contact in given["contacts"]:
            create = {"verb": "POST", "path": "contact_information/create", **contact}
            await self.succeed(create)
        await self.register(late)
        for call in given["calls"]:
            await self.succeed(call)
        await self.register(given.get("changes", []))

    async def register(self, records: Sequence[Json]) -> None:
        """Register records for the fixture's organisation, whatever the files call it."""
        if records:
            await self.api.register([self._own(self.resolve(record)) for record in records])

    async def succeed(self, call: Json) -> None:
        """Make a call that must not fail, and keep its data under its alias."""
        answer = await self.perform(call)
        assert answer["status"]["code"] == "OK", f"{call['path']}: {answer['status']}"
        if "alias" in call:
            self.known[call["alias"]] = answer["data"]

    async def perform(self, call: Json) -> Json:
        """Make a call as written; returns the envelope, OK or not."""
        parts = {key: call[key] for key in ("query", "body", "raw_body", "form") if key in call}
        arguments = self.resolve(parts)
        if "file" in call:
            arguments["file"] = upload(call["file"])
        return await self.api.call(call["verb"], call["path"], **arguments)

    def resolve(self, value: Any) -> Any:
        """Put the values in that the mentions stand for."""
        if isinstance(value, dict):
            return {key: self.resolve(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.resolve(inner) for inner in value]
        if not isinstance(value, str):
            return value
        whole = MENTION.fullmatch(value)
        if whole is not None:
            return self.look_up(whole)
        return MENTION.sub(lambda found: str(self.look_up(found)), value)

    def look_up(self, mention: re.Match[str]) -> Any:
        """The value of one mention; a mention of nothing known is a mistake in the file."""
        value = self.known[mention["alias"]]
        for step in mention["path"][1:].split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
        return value

    def _own(self, record: Json) -> Json:
        name = self.api.organisation
        if record["kind"] == "organisation":
            return {**record, "id": name, "name": name}
        return {**record, "organisation": name}


def split_records(records: Sequence[Json]) -> tuple[Sequence[Json], Sequence[Json]]:
    """The records before, and those from, the first one that mentions an alias."""
    for place, record in enumerate(records):
        if any(mentions(record)):
            return records[:place], records[place:]
    return records, []


def upload(file: Json) -> Upload:
    """The file of a multipart call as the fixture takes it."""
    return file["name"], base64.b64decode(file["base64"]), file["content_type"]
