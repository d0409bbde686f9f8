"""The check of the built-in sender."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from infra.delivery.backlog import LATE, SERVER_SETTINGS, Backlog, backlogs, is_enabled
from infra.diagnostics.runner import CheckContext, CheckResult, summarize
from infra.ledger.positions import head_positions
from services.communications.delivery import INTERNAL_ERROR

__all__ = ["SENDING_CHECKS"]

SETTINGS = """
SELECT document FROM views.records WHERE organisation = $1 AND kind = 'organisation' AND id = $1 AND NOT retired
"""


async def sending(context: CheckContext) -> CheckResult:
    """Check that no message is queued for too long, or stuck: no sender runs, or something fails."""
    late, queued, servers = [], 0, 0
    for organisation in await head_positions(context.connection):
        document = await context.connection.fetchval(SETTINGS, organisation)
        settings = orjson.loads(document) if document else {}
        for backlog in await backlogs(context.connection, organisation):
            if is_enabled(settings, backlog.media):
                servers += 1
                queued += backlog.entries
                server = settings[SERVER_SETTINGS[backlog.media][0]]
                if backlog.seconds > LATE or backlog.failures or _is_stuck(backlog, server):
                    late.append(_describe(organisation, backlog))
    if late:
        return CheckResult("warning", summarize(late))
    return CheckResult("ok", f"{queued:,} queued messages for {servers:,} servers, none too old")


def _is_stuck(backlog: Backlog, server: Mapping[str, Any]) -> bool:
    """Return True if tries have not ended, or fail because of the service itself."""
    is_unending = backlog.tries >= server.get("tries", math.inf)
    return is_unending or backlog.error == INTERNAL_ERROR


def _describe(organisation: str, backlog: Backlog) -> str:
    message = f"{backlog.entries:,} {backlog.media} of {organisation} queued, the oldest for {backlog.seconds:,.0f} s"
    error = backlog.server_error or backlog.error
    tries = f", one tried {backlog.tries:,} times" if backlog.tries else ""
    return f"{message}{tries} ({error})" if error else f"{message}; is `crmledger send` running?"


SENDING_CHECKS = (sending,)
"""In the order in which they are run."""
