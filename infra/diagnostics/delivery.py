"""The check of the built-in sender."""

from __future__ import annotations

import orjson

from infra.delivery.backlog import LATE, Backlog, backlogs, is_enabled
from infra.diagnostics.runner import CheckContext, CheckResult, summarize
from infra.ledger.positions import head_positions

__all__ = ["SENDING_CHECKS"]

SETTINGS = """
SELECT document FROM views.records WHERE organisation = $1 AND kind = 'organisation' AND id = $1 AND NOT retired
"""


async def sending(context: CheckContext) -> CheckResult:
    """Check that no message is queued for too long: no sender runs, or a server is unavailable."""
    late, queued, servers = [], 0, 0
    for organisation in await head_positions(context.connection):
        document = await context.connection.fetchval(SETTINGS, organisation)
        settings = orjson.loads(document) if document else {}
        for backlog in await backlogs(context.connection, organisation):
            if is_enabled(settings, backlog.media):
                servers += 1
                queued += backlog.entries
                if backlog.seconds > LATE or backlog.failures:
                    late.append(_describe(organisation, backlog))
    if late:
        return CheckResult("warning", summarize(late))
    return CheckResult("ok", f"{queued:,} queued messages for {servers:,} servers, none too old")


def _describe(organisation: str, backlog: Backlog) -> str:
    message = f"{backlog.entries:,} {backlog.media} of {organisation} queued, the oldest for {backlog.seconds:,.0f} s"
    error = backlog.server_error or backlog.error
    return f"{message} ({error})" if error else f"{message}; is `crmledger send` running?"


SENDING_CHECKS = (sending,)
"""In the order in which they are run."""
