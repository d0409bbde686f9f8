"""The settings of an organisation's e-mail server and SMS gateway.

Extensions of ours to the settings of common.md, section 14: with them the service itself sends
queue entries without an external system (communications.md, section 9.1). Their secrets are not
fields: see `domain.reference.catalogue.SECRETS`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from domain.errors import InvalidParameterType, InvalidParameterValue
from domain.fields import Field, JsonObject, JsonSchema, Level, ReadContext
from domain.linear_patterns import LinearPattern
from domain.mail_addresses import parse_address
from domain.parsing import read_integer, read_text
from domain.reference.fields import OptionalObject
from domain.scalar_fields import Enumeration, Integer, Text

__all__ = ["EMAIL_SERVER", "PASSWORD", "SECRET", "SMS_SERVER", "render_template"]

PASSWORD, SECRET = "email_server_password", "sms_server_secret"
"""The secrets, by the names under which they are registered."""

PLACEHOLDERS = frozenset({"to", "from", "text", "key", "secret"})
"""The placeholders of the gateway's templates."""
PLACEHOLDER = re.compile(r"\{\{\s*(\w*)\s*\}\}")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
"""A header's name (RFC 9110)."""
CREDENTIALS = frozenset(
    {"authorization", "proxy-authorization", "api-key", "apikey", "x-api-key", "x-auth-token"}
)
"""Headers whose value is a secret: as text of a template it would be part of an event."""
MAX_HEADERS = 20
MAX_HEADER_LENGTH = 1000
MAX_ID = 255
MAX_UNSUBSCRIBE = 500
UNSUBSCRIBE_PLACEHOLDERS = frozenset({"contact", "key"})
UNSUBSCRIBE = re.compile("(?:https://|mailto:)[!-;=?-~]+")


def render_template(
    template: str, values: Mapping[str, str], escape: Callable[[str], str] = str
) -> str:
    """A template with each ``{{name}}`` replaced, in one pass, by the escaped value."""
    return PLACEHOLDER.sub(lambda match: escape(values[match[1]]), template)


def _template(text: str) -> str | None:
    return text if set(PLACEHOLDER.findall(text)) <= PLACEHOLDERS else None


def _host(text: str) -> str | None:
    host = text.strip()
    return host if re.fullmatch(r"[A-Za-z0-9.:_-]+", host) else None


def _printable(text: str) -> str | None:
    return text if text.isprintable() else None


def _ascii_address(text: str) -> str | None:
    """The address as mails say it, or None if it is none or not every server takes it."""
    try:
        address = parse_address(text)
    except ValueError:
        return None
    return address if address.isascii() else None


def _unsubscribe(text: str) -> str | None:
    """Templates of https and mailto URIs, separated by blanks (RFC 2369); None if one is something else."""
    is_known = set(PLACEHOLDER.findall(text)) <= UNSUBSCRIBE_PLACEHOLDERS
    uris = PLACEHOLDER.sub("0", text).split()
    is_safe = is_known and bool(uris) and all(map(UNSUBSCRIBE.fullmatch, uris))
    return text.strip() if is_safe else None


def _url(text: str) -> str | None:
    """An absolute address without user, fragment or placeholders, which would put data into it."""
    url = text.strip()
    try:
        parts = urlsplit(url)
        is_absolute = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    is_plain = "@" not in parts.netloc and not parts.fragment and "{{" not in url
    return url if is_absolute and is_plain and re.fullmatch(r"[!-~]+", url) else None


def _pattern(text: str) -> str | None:
    try:
        LinearPattern(text)
    except ValueError:
        return None
    return text


def _header(text: str) -> str | None:
    return text if TOKEN.fullmatch(text) else None


@dataclass(frozen=True, kw_only=True)
class Headers(Field):
    """Headers of a request: an object of templates by name."""

    def read(self, value: Any, path: str, context: ReadContext) -> dict[str, str]:
        if not isinstance(value, dict):
            raise InvalidParameterType(path)
        if len(value) > MAX_HEADERS:
            raise InvalidParameterValue(path)
        return {name: self._read(name, item, f"{path}.{name}") for name, item in value.items()}

    def _read(self, name: str, value: Any, path: str) -> str:
        text = read_text(value, path, MAX_HEADER_LENGTH)
        is_safe = name.lower() not in CREDENTIALS or "secret" in PLACEHOLDER.findall(text)
        if not (_header(name) and _printable(text) is not None and _template(text) and is_safe):
            raise InvalidParameterValue(path)
        return text

    def schema(self) -> JsonSchema:
        return {
            "type": "object",
            "maxProperties": MAX_HEADERS,
            "additionalProperties": {"type": "string", "maxLength": MAX_HEADER_LENGTH},
        }


@dataclass(frozen=True, kw_only=True)
class Statuses(Field):
    """HTTP statuses that mean success."""

    def read(self, value: Any, path: str, context: ReadContext) -> list[int]:
        if not isinstance(value, list):
            raise InvalidParameterType(path)
        return sorted(
            {read_integer(item, f"{path}[{n}]", 200, 299) for n, item in enumerate(value)}
        )

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return list(stored or ())

    def schema(self) -> JsonSchema:
        items = {"type": "integer", "minimum": 200, "maximum": 299}
        return {"type": "array", "items": items, "uniqueItems": True}


@dataclass(frozen=True, kw_only=True)
class CategoryIds(Field):
    """Ids of communication categories. No links: the organisation is registered before them."""

    def read(self, value: Any, path: str, context: ReadContext) -> list[str]:
        if not isinstance(value, list):
            raise InvalidParameterType(path)
        return sorted({read_text(item, f"{path}[{n}]", MAX_ID) for n, item in enumerate(value)})

    def to_response(self, stored: Any, zone: ZoneInfo) -> Any:
        return list(stored or ())

    def schema(self) -> JsonSchema:
        items = {"type": "string", "maxLength": MAX_ID}
        return {"type": "array", "items": items, "uniqueItems": True}


LIMITS: tuple[Field, ...] = (
    Integer(name="messages_per_second", minimum=1, maximum=1000),
    Integer(name="connections", minimum=1, maximum=100),
    Integer(name="timeout_seconds", minimum=1, maximum=300),
    Integer(name="tries", minimum=1, maximum=100),
    Integer(name="first_wait_seconds", minimum=1, maximum=86400),
    Integer(name="longest_wait_seconds", minimum=1, maximum=86400),
)
"""Rate and retries, of all processes together."""

LIMIT_DEFAULTS: dict[str, Any] = {
    "messages_per_second": 10,
    "connections": 4,
    "timeout_seconds": 30,
    "tries": 8,
    "first_wait_seconds": 30,
    "longest_wait_seconds": 3600,
}


def _check_email_server(settings: JsonObject, path: str) -> None:
    """Refuses to send a password without TLS."""
    if settings["username"] and settings["tls"] == "NONE":
        raise InvalidParameterValue(f"{path}.username")


EMAIL_SERVER = OptionalObject(
    name="email_server",
    fields=(
        Text(name="host", clean=_host),
        Integer(name="port", minimum=1, maximum=65535),
        Enumeration(name="tls", allowed=("NONE", "STARTTLS", "IMPLICIT")),
        Text(name="username", clean=_printable),
        Enumeration(name="content_type", allowed=("PLAIN", "HTML")),
        Text(name="from_name", clean=_printable),
        Text(name="reply_to", clean=_ascii_address),
        Text(name="list_unsubscribe", max_length=MAX_UNSUBSCRIBE, clean=_unsubscribe),
        CategoryIds(name="list_unsubscribe_category_ids"),
        *LIMITS,
    ),
    levels={"host": Level.MANDATORY},
    defaults={
        "port": 587,
        "tls": "STARTTLS",
        "content_type": "PLAIN",
        "list_unsubscribe_category_ids": [],
    }
    | LIMIT_DEFAULTS,
    check=_check_email_server,
)
"""The SMTP server for e-mails."""


def _check_sms_server(settings: JsonObject, path: str) -> None:
    """Refuses a body without a message, invalid JSON, and a secret over plain HTTP."""
    places = set(PLACEHOLDER.findall(settings["body"]))
    if not {"to", "text"} <= places:
        raise InvalidParameterValue(f"{path}.body")
    if settings["body_format"] == "JSON":
        try:
            json.loads(render_template(settings["body"], dict.fromkeys(PLACEHOLDERS, "0")))
        except ValueError as error:
            raise InvalidParameterValue(f"{path}.body") from error
    templates = (settings["body"], *(settings["headers"] or {}).values())
    shows_secret = any("secret" in PLACEHOLDER.findall(template) for template in templates)
    if shows_secret and not settings["url"].lower().startswith("https:"):
        raise InvalidParameterValue(f"{path}.url")


SMS_SERVER = OptionalObject(
    name="sms_server",
    fields=(
        Text(name="url", max_length=2000, clean=_url),
        Enumeration(name="method", allowed=("POST", "PUT")),
        Headers(name="headers"),
        Enumeration(name="body_format", allowed=("JSON", "FORM", "XML", "TEXT")),
        Text(name="body", clean=_template),
        Text(name="idempotency_header", clean=_header),
        Statuses(name="expected_statuses"),
        Text(name="answer_text"),
        Text(name="answer_pattern", clean=_pattern),
        *LIMITS,
    ),
    levels={"url": Level.MANDATORY, "body": Level.MANDATORY},
    defaults={
        "method": "POST",
        "headers": {},
        "body_format": "JSON",
        "idempotency_header": "Idempotency-Key",
        "expected_statuses": [200, 201, 202, 204],
    }
    | LIMIT_DEFAULTS,
    check=_check_sms_server,
)
"""The HTTP gateway for SMS."""
