"""Webhooks: addresses to which events are delivered; an extension of ours."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from domain.aggregate import AGGREGATES, EVENTS
from domain.fields import Parameters, mandatory
from domain.reference.fields import DESCRIPTION, NAME, EnumerationSet, state
from domain.reference.records import RecordKind
from domain.scalar_fields import Text

__all__ = ["PREFIX", "SECRET_BYTES", "signing_secret", "webhook_kind"]

PREFIX = "whsec_"
"""The prefix of a signing secret (Standard Webhooks)."""
SECRET_BYTES = (24, 64)
"""The smallest and largest size of a signing secret, in bytes."""
MAX_URL_LENGTH = 2000

_URL = re.compile(r"[!-~]+")
_EXCLUDED = ("access", "record")
"""Readings have a ledger of their own, and registered records are listed by their kind."""


def _url(text: str) -> str | None:
    """An absolute address of HTTP or HTTPS, without a user, a password or a fragment."""
    url = text.strip()
    try:
        parts = urlsplit(url)
        is_absolute = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    is_wrong = "@" in parts.netloc or "#" in url or not _URL.fullmatch(url)
    return url if is_absolute and not is_wrong else None


def signing_secret(text: str) -> str | None:
    """A secret in the form of Standard Webhooks: the prefix and 24 to 64 bytes as base64."""
    secret = text.strip()
    if not secret.startswith(PREFIX):
        return None
    try:
        key = b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        return None
    minimum, maximum = SECRET_BYTES
    return PREFIX + b64encode(key).decode() if minimum <= len(key) <= maximum else None


def _topics() -> tuple[str, ...]:
    return tuple(sorted(topic for topic in EVENTS if topic.partition(".")[0] != _EXCLUDED[0]))


def webhook_kind(kinds: Callable[[], Iterable[str]]) -> RecordKind:
    """The kind of webhooks: events that match both lists are delivered; an empty list matches all.

    :param kinds: returns the keys of all kinds, this one included; called after all are declared.
    """

    def entities() -> tuple[str, ...]:
        return (*sorted(AGGREGATES.keys() - _EXCLUDED), *sorted(kinds()))

    return RecordKind(
        key="webhook",
        parameters=Parameters(
            NAME,
            DESCRIPTION,
            mandatory(Text(name="url", max_length=MAX_URL_LENGTH, clean=_url)),
            EnumerationSet(name="entities", allowed=entities),
            EnumerationSet(name="topics", allowed=_topics),
            state("EFFECTIVE", "NOT_EFFECTIVE"),
        ),
        secrets=("secret",),
        encrypted=frozenset({"secret"}),
        generated=frozenset({"secret"}),
        defaults={"entities": [], "topics": [], "life_cycle_state": "EFFECTIVE"},
    )
