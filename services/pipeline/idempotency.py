"""Calls that are made again (contract common.md, section 13): the first answer, or a refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from domain.errors import KeyReused
from services.context import Answer, Question
from services.ports import Ledger

if TYPE_CHECKING:
    from services.context import Session
    from services.pipeline.query_runner import Run

__all__ = ["caller_of", "first_answer", "repeated", "request_hash"]


def caller_of(session: Session) -> str:
    """Whose a key is when its outcome is asked for: the user, and the customer's account if any."""
    return f"{session.user}/{session.customer.account if session.customer else ''}"


async def repeated(ledger: Ledger, run: Run) -> bytes | None:
    """The first answer to the call's idempotency key, if there is one by now."""
    if not run.key:
        return None
    told = await ledger.ask(run.organisation, Question(key=run.key))
    return first_answer(told.answer, run.request_hash) if told.answer else None


def first_answer(answer: Answer, request_hash: str) -> bytes:
    """The first answer again; raises `KeyReused` if the key came with another request."""
    if answer.request_hash != request_hash:
        raise KeyReused("Idempotency-Key")
    return answer.data


def request_hash(run: Run, mac: Callable[[str], str]) -> str:
    """What makes two requests the same: the method, the user and the body but for the token.

    A session that is to be ended is named by nothing else than the token.

    :param mac: a keyed hash, for a body may hold a pass code or a one-time password: whoever reads
        what is stored could try them all with one that needs no key.
    """
    body = {name: value for name, value in run.request.raw.items() if name != "token"}
    files = {name: hashlib.sha256(f.content).hexdigest() for name, f in run.request.files.items()}
    ended = [run.session.id] if run.method.ends_session else []
    customer = run.session.customer
    whose = [run.session.user, *([customer.account] if customer else [])]
    said = [run.method.path, *whose, body, files, *ended]
    # orjson knows no integers beyond 64 bits, and a body may hold any.
    return mac(f"request/{msgspec.json.encode(said, order='sorted').decode()}")
