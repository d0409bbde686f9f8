"""The check of what the service itself has to send."""

from __future__ import annotations

import orjson

from infra.delivery.backlog import LATE, Backlog, backlogs, is_enabled
from infra.diagnostics.runner import CheckContext, CheckResult, summarize
from infra.ledger.positions import head_positions

__all__ = ["SENDING_CHECKS"]

SETTINGS = """
SELECT document FROM views.records WHERE organisation = $1 AND kind = 'organisation' AND id = $1 AND NOT retired
"""


async def sending(site: CheckContext) -> CheckResult:
    """Whether messages wait too long for servers that are set: nothing sends, or a server is away."""
    late, waiting, servers = [], 0, 0
    for organisation in await head_positions(site.connection):
        document = await site.connection.fetchval(SETTINGS, organisation)
        settings = orjson.loads(document) if document else {}
        for one in await backlogs(site.connection, organisation):
            if is_enabled(settings, one.media):
                servers += 1
                waiting += one.entries
                if one.seconds > LATE or one.failures:
                    late.append(_late(organisation, one))
    if late:
        return CheckResult("warning", summarize(late))
    return CheckResult("ok", f"{waiting:,} messages wait for {servers:,} servers, none too long")


def _late(organisation: str, one: Backlog) -> str:
    said = f"{one.entries:,} {one.media} of {organisation} wait, the first for {one.seconds:,.0f} s"
    why = one.server_error or one.error
    return f"{said} ({why})" if why else f"{said}; is `crmledger send` running?"


SENDING_CHECKS = (sending,)
"""In the order in which they are made."""
