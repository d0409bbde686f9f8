"""The OpenAPI description, made from the registry of methods.

``python -m infra.http.openapi.document > docs/openapi.json`` writes the copy in the repository.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import version

import orjson

import services.registry  # noqa: F401 (fills the registries)
from domain.errors import CATALOGUE, TransportError
from infra.http.openapi.audit import AUDIT_TAG, as_of_paths, audit_paths
from infra.http.openapi.components import components
from infra.http.openapi.methods import (
    REFERENCE_TAG,
    image_paths,
    method_paths,
    reference_paths,
    tag,
)
from infra.http.openapi.request_outcomes import OUTCOMES_TAG, outcome_paths
from infra.http.openapi.schemas import Document
from infra.http.openapi.webhooks import WEBHOOKS_TAG, webhook_messages, webhook_paths
from infra.http.request_outcomes import REQUESTS
from services.pipeline.method import BASE, METHODS

__all__ = ["document", "openapi_json", "pretty_json"]

OTHER_TAGS = (REFERENCE_TAG, AUDIT_TAG, OUTCOMES_TAG, WEBHOOKS_TAG)
"""The tags of everything that is not part of the CRM.COM API."""


def document() -> Document:
    """Return the whole description."""
    methods = sorted(METHODS.values(), key=lambda method: method.number)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "crmledger",
            "version": version("crmledger"),
            "description": _description(),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": n} for n in (*dict.fromkeys(map(tag, methods)), *OTHER_TAGS)],
        "paths": method_paths(methods) | image_paths() | _other_paths(),
        "webhooks": webhook_messages(),
        "components": components(methods),
    }


def _other_paths() -> Document:
    """The paths of everything that is not part of the CRM.COM API."""
    return reference_paths() | audit_paths() | as_of_paths() | outcome_paths() | webhook_paths()


@cache
def openapi_json() -> bytes:
    """Return the description as it is served."""
    return orjson.dumps(document())


def pretty_json() -> bytes:
    """Return the description as it stands in the repository, one member a line."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _description() -> str:
    return f"""\
An event-sourced CRM service that speaks the CRM.COM Web API v2.

**Logging in.** `POST {BASE}authentication/token` with `username`, `password` and `organisation`
answers a `token` that is valid for two hours. A system logs in at
`POST {BASE}authentication/web_api_key/token` instead, with its web API key as the user name of a
Basic header and an empty password. Every other method needs the token: in the query of a GET, in
the JSON body of a POST, as a field of a form. Where none of these holds one, a header
`Authorization: Bearer <token>` does.

**Answers** are an object of `status` and `data`. A refusal comes with HTTP status 200, too: a call
has succeeded when `status.code` is `OK`; else `status.description` names the parameter at fault, if
there is one, and `data` is empty. Only these errors have an HTTP status of their own:

| HTTP | `status.code` | Meaning |
|---|---|---|
{_transport_table()}

**Identifiers** name an entity by exactly one of its fields: in JSON as an object,
`"communication_identifier": {{"number": "CM000680"}}`; in a query or a form as `field=value`, for
example `communication_identifier=number=CM000680`.

**`fields_set`** keeps only the named top-level keys of the result, or of each object of a list:
`id,number`. Unknown names are ignored.

**Parameters.** In an update an absent parameter stays as it is and null unsets it. Unknown
parameters are ignored. Dates are `YYYY-MM-DDTHH:MM:SS` on the wall clock of the service's time
zone. Numbers may also be sent as texts, and enumerations in any case.

**`Idempotency-Key`** makes a POST repeatable: the same key with the same body gets the first answer
again, for 24 hours; with another body it is refused. `GET {REQUESTS}{{key}}` says for seven days what
became of the call.

**`X-Max-Staleness`** lets a GET be answered from a replica that is so many seconds old at most. The
answer's `X-Staleness` says how old it is.
"""


def _transport_table() -> str:
    return "\n".join(
        f"| {error.status} | `{error.code}` | {error.message} |"
        for error in CATALOGUE.values()
        if issubclass(error, TransportError)
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(pretty_json())
