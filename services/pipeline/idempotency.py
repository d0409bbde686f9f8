"""Repeated calls (contract common.md, section 13): the first answer again, or a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from domain.errors import KeyReused
from services.context import ContextQuery, StoredResponse
from services.ports import ContextSource

if TYPE_CHECKING:
    from services.context import SessionRow
    from services.pipeline.method import Method
    from services.pipeline.request import Call, Request

__all__ = ["ReplayedAnswer", "key_owner", "replay_response", "request_hashes", "stored_response"]


def key_owner(session: SessionRow) -> str:
    """Return the owner of a key: the user, and the customer's account if any, as SQL makes it, too."""
    return f"{session.user}/{session.customer.account if session.customer else ''}"


async def stored_response(source: ContextSource, call: Call) -> ReplayedAnswer | None:
    """Return the first answer to the call's idempotency key, if there is one by now."""
    if not call.key:
        return None
    query = ContextQuery(call.session.id, call.key)
    context = await source.load_context(call.organisation, query)
    return replay_response(context.response, call.request_hashes) if context.response else None


class ReplayedAnswer(bytes):
    """The first answer to an idempotency key, given again."""


def replay_response(answer: StoredResponse, request_hashes: Sequence[str]) -> ReplayedAnswer:
    """Return the first answer again; raises `KeyReused` if the key came with another request."""
    if answer.request_hash not in request_hashes:
        raise KeyReused("Idempotency-Key")
    return ReplayedAnswer(answer.data)


def request_hashes(
    method: Method, request: Request, session: SessionRow, macs: Callable[[str], list[str]]
) -> list[str]:
    """Return the hashes by which two requests are the same: of method, user and body but the token.

    Of a session that is to be ended the id is hashed, too: only the token names it.

    :param macs: keyed hashes, with each key: a body may hold a pass code or a one-time password,
        and whoever reads the stored hash could try them all if it needed no key.
    """
    body = {name: value for name, value in request.parameters.items() if name != "token"}
    files = {name: hashlib.sha256(f.content).hexdigest() for name, f in request.files.items()}
    ended = [session.id] if method.targets_session else []
    caller = [session.user, *([session.customer.account] if session.customer else [])]
    hashed = [method.path, *caller, body, files, *ended]
    # orjson knows no integers beyond 64 bits, and a body may hold any.
    return macs(f"request/{msgspec.json.encode(hashed, order='sorted').decode()}")
