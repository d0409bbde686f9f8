"""Loads the demo organisation, once; existing data stays as it is."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
import orjson

from domain.errors import ServiceError
from infra.app import Application
from infra.private_files import replace_privately
from services.authentication import token
from services.pipeline.method import METHODS
from services.pipeline.query_runner import collect
from services.pipeline.request import Request
from services.reference.importer import import_lines

__all__ = ["ORGANISATION", "DemoSecrets", "load_demo", "total_lines"]

ORGANISATION = "CRMDEMO"
USER = "demo"


class DemoSecrets(msgspec.Struct):
    """The secrets that the first run generated: passwords by username, web API keys by number.

    ``pass_code`` is that of the access tokens, ``loaded`` the hash of the organisation's first event in
    the database that was loaded.
    """

    passwords: dict[str, str] = {}
    keys: dict[str, str] = {}
    pass_code: str = ""
    loaded: str = ""


class DemoError(RuntimeError):
    """The demo data does not fit this build; the message says which line was refused."""


def total_lines() -> int:
    """Return the number of lines of the demo data, for a progress bar."""
    return sum(len(_read_lines(name)) for name in _FILES)


async def load_demo(
    application: Application, path: Path, advance: Callable[[int], None]
) -> DemoSecrets:
    """Register the demo organisation; create its contacts, communications and service requests.

    :param path: the file of the generated secrets, readable by this user only.
    :param advance: is called with the number of lines done since the last call.
    """
    demo_secrets, first_event = _load_secrets(path), await _first_event(application)
    if demo_secrets.loaded and demo_secrets.loaded == first_event:
        advance(total_lines())
        return demo_secrets
    # Calls that were made with lost secrets cannot be repeated.
    is_served = bool(first_event) and not demo_secrets.pass_code
    demo_secrets.pass_code = demo_secrets.pass_code or f"{secrets.token_urlsafe(12)}a1"
    for name in ("10-organisation", "20-countries", "30-setup"):
        await _register(application, _with_secrets(name, demo_secrets), advance)
    _save_secrets(path, demo_secrets)
    session = await _log_in(application, demo_secrets)
    contacts: dict[str, str] = {}
    for line in _read_lines("40-contacts"):
        contacts |= await _ensure_contact(application, session, line, contacts)
        advance(1)
    await _register(application, _resolved_lines("50-customers", contacts), advance)
    for number, line in enumerate(_resolved_lines("60-communications", contacts)):
        body = orjson.loads(line)["body"]
        await _call(
            application, session, "communications/create", body, f"demo/communication/{number}"
        )
        advance(1)
    if is_served:
        advance(len(_read_lines("70-service")))
    else:
        aliases = contacts | {"secret": demo_secrets.pass_code}
        await _replay_service_calls(application, session, aliases, advance)
    demo_secrets.loaded = await _first_event(application)
    _save_secrets(path, demo_secrets)
    return demo_secrets


_FILES = (
    "10-organisation",
    "20-countries",
    "30-setup",
    "40-contacts",
    "50-customers",
    "60-communications",
    "70-service",
)


def _read_lines(name: str) -> list[bytes]:
    return (files("infra.demo") / f"{name}.jsonl").read_bytes().splitlines()


def _with_secrets(name: str, demo_secrets: DemoSecrets) -> Iterator[bytes]:
    for line in _read_lines(name):
        record = orjson.loads(line)
        if record["kind"] == "user":
            username = record["username"]
            record["password"] = demo_secrets.passwords.setdefault(
                username, secrets.token_urlsafe(12)
            )
        elif record["kind"] == "web_api_key":
            number = record["number"]
            record["key"] = demo_secrets.keys.setdefault(number, secrets.token_hex(16).upper())
        yield orjson.dumps(record)


def _resolved_lines(name: str, contacts: dict[str, str]) -> Iterator[bytes]:
    for line in _read_lines(name):
        yield orjson.dumps(_resolve_aliases(orjson.loads(line), contacts))


def _resolve_aliases(value: Any, aliases: dict[str, str]) -> Any:
    """Return the value with every ``@alias`` replaced by its id."""
    if isinstance(value, str) and value.startswith("@"):
        return aliases[value[1:]]
    if isinstance(value, dict):
        return {name: _resolve_aliases(member, aliases) for name, member in value.items()}
    return (
        [_resolve_aliases(member, aliases) for member in value]
        if isinstance(value, list)
        else value
    )


async def _register(
    application: Application, lines: Iterator[bytes], advance: Callable[[int], None]
) -> None:
    report = await import_lines(
        application.registrar,
        lines,
        organisation=ORGANISATION,
        kind=None,
        source="demo",
        advance=lambda _: advance(1),
    )
    if report.refused:
        raise DemoError(str(report.refused[0]))


async def _log_in(application: Application, demo_secrets: DemoSecrets) -> str:
    credentials = {
        "username": USER,
        "password": demo_secrets.passwords[USER],
        "organisation": ORGANISATION,
    }
    return str((await token(Request(credentials), credentials, application.desk))["token"])


async def _ensure_contact(
    application: Application, session: str, line: bytes, contacts: dict[str, str]
) -> dict[str, str]:
    """Create a contact unless one with its number exists; return its id by its alias."""
    record = orjson.loads(line)
    body = _resolve_aliases(record["body"], contacts)
    numbers = (body.get("demographics") or {}) | (body.get("company_profile") or {})
    name = "id_number" if body["type"] == "PERSON" else "vat_registration_number"
    method = METHODS["contact_information/list"]
    query = {"token": [session], name: [numbers[name]]}
    answer = await application.runner.run(method, Request(query, from_query_or_form=True))
    matches = orjson.loads(await collect(answer))
    if not matches:
        path, key = "contact_information/create", f"demo/contact/{record['alias']}"
        matches = [await _call(application, session, path, body, key)]
    return {record["alias"]: matches[0]["id"]}


async def _replay_service_calls(
    application: Application, session: str, aliases: dict[str, str], advance: Callable[[int], None]
) -> None:
    """Make the calls of the last file; each may refer to the answers to earlier ones."""
    for number, line in enumerate(_read_lines("70-service")):
        record = orjson.loads(line)
        body, key = _resolve_aliases(record["body"], aliases), f"demo/service/{number}"
        answer = await _call(application, session, record["path"], body, key)
        if "alias" in record:
            texts = {name: value for name, value in answer.items() if isinstance(value, str)}
            aliases = aliases | {f"{record['alias']}.{name}": text for name, text in texts.items()}
            aliases[record["alias"]] = answer["id"]
        advance(1)


async def _call(application: Application, session: str, path: str, body: Any, key: str) -> Any:
    request = Request(body | {"token": session}, idempotency_key=key, request_id="demo")
    try:
        return orjson.loads(await collect(await application.runner.run(METHODS[path], request)))
    except ServiceError as error:
        raise DemoError(f"{path} {key}: {error.code} {error.description}") from error


async def _first_event(application: Application) -> str:
    organisation = await application.ledger.organisation(ORGANISATION, fresh=True)
    return await application.ledger.first_hash(organisation) if organisation else ""


def _load_secrets(path: Path) -> DemoSecrets:
    if not path.exists():
        return DemoSecrets()
    return msgspec.json.decode(path.read_bytes(), type=DemoSecrets)


def _save_secrets(path: Path, demo_secrets: DemoSecrets) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replace_privately(path) as draft:
        draft.write_bytes(msgspec.json.encode(demo_secrets))
