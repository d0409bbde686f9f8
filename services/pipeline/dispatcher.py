"""The one way of a call, for all methods (contract common.md, section 12, order of checks).

session token -> method open to the session -> parameters -> one question to the database (session,
idempotency key, identifiers) -> credentials -> load -> decide -> append events and views in one
transaction -> answer from the new state.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from domain.errors import (
    AccessDenied,
    InvalidToken,
    MandatoryParameter,
    Refusal,
    TokenExpired,
)
from domain.fields import JsonObject, ReadContext
from domain.identifiers import Identifier
from domain.token_credentials import Credential
from services.context import CallContext, ContextQuery, SessionRow
from services.pipeline.idempotency import replay_response, request_hash, stored_response
from services.pipeline.identifiers import identifiers, stored_identifiers
from services.pipeline.instrumentation import StageTimer
from services.pipeline.method import Method
from services.pipeline.query_runner import CallState, read_parameters, resolve, run_query
from services.pipeline.request import Request, Upload
from services.pipeline.session_tokens import Claims, Tokens
from services.pipeline.tenancy import load_context_by_name
from services.pipeline.token_proofs import Authenticator
from services.ports import Store
from services.reference_cache import Match

__all__ = ["AuthenticatedSession", "Dispatcher", "ResolveAgain", "RunCommand", "utc_now"]


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class AuthenticatedSession:
    """A session that may be used, with the id and the set-up of its organisation."""

    organisation: str
    session: SessionRow
    told: CallContext


ResolveAgain = Callable[[CallState], Awaitable[None]]
RunCommand = Callable[[CallState, ResolveAgain], Coroutine[None, None, bytes]]


class Dispatcher:
    """Runs the methods that need a session.

    ``write`` runs those that write: it is given a call and the way to resolve it anew. ``limit`` is
    asked before each call of a session and may raise `TooManyRequests`; ``inspect_image`` returns
    the mime type of an image or raises `InvalidProfilePhoto`; ``mac`` is a keyed hash; ``stage``
    measures.
    """

    def __init__(
        self,
        ledger: Store,
        tokens: Tokens,
        authenticator: Authenticator,
        zone: ZoneInfo,
        write: RunCommand,
        limit: Callable[[str], None],
        inspect_image: Callable[[bytes], Awaitable[str]],
        mac: Callable[[str], str],
        stage: StageTimer,
    ) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._authenticator = authenticator
        self._zone = zone
        self._write = write
        self._limit = limit
        self._inspect_image = inspect_image
        self._mac = mac
        self._stage = stage

    async def run(self, method: Method, request: Request) -> bytes:
        """The answer's ``data`` as JSON. Raises what the call is refused with, or `ServiceError`."""
        run = await self._checked(method, request)
        if run.key and run.told.answer is not None:
            return replay_response(run.told.answer, run.request_hash)
        try:
            await self._resolve(run)
            if method.multipart:
                await self._inspect(run)
            if method.writes:
                return await self._write(run, self._resolve_again)
            return await run_query(self._ledger, run, self._stage)
        except Refusal:
            # A twin with the same key may have won while this call was being decided.
            answer = await stored_response(self._ledger, run)
            if answer is None:
                raise
            return answer

    async def session(self, token: object) -> AuthenticatedSession:
        """The open session of a token. Raises `InvalidToken` and `TokenExpired`."""
        claims = self._tokens.verify(token)
        self._limit(claims.session)
        told = await load_context_by_name(
            self._ledger, claims.organisation, ContextQuery(claims.session)
        )
        if told is None:
            raise InvalidToken
        return AuthenticatedSession(told.directory.organisation, _session(claims, told), told)

    async def _resolve(self, run: CallState) -> None:
        """Finds what the parameters name, and checks the credentials among them once."""

        async def prove(credential: Credential, matches: Sequence[Match]) -> str:
            if credential not in run.proofs:
                with self._stage("credentials"):
                    proof = await self._authenticator.verify(run.caller, credential, matches)
                run.proofs[credential] = proof
            return run.proofs[credential].entity_id

        with self._stage("resolve"):
            await resolve(run, prove)

    async def _resolve_again(self, run: CallState) -> None:
        """The same after another change came first."""
        file = run.resolved.get("file")
        question = ContextQuery(identifiers=run.stored_identifiers, customer=run.session.customer)
        with self._stage("ask"):
            run.told = await self._ledger.load_context(run.organisation, question)
        await self._resolve(run)
        run.resolved |= {"file": file} if file else {}

    async def _checked(self, method: Method, request: Request) -> CallState:
        """The call with its session and parameters checked."""
        claims = self._claims(method, request)
        self._limit(claims.session)
        reading = ReadContext(
            self._zone, utc_now().astimezone(self._zone).date(), request.from_query_or_form
        )
        given: JsonObject = {}
        names, refusal = None, None
        try:
            given, names = read_parameters(method, request, reading)
        except Refusal as error:
            refusal = error
        named = identifiers(given)
        wanted = stored_identifiers(named)
        key = request.idempotency_key if method.writes else None
        view, loads = None, None
        if claims.customer is None and refusal is None:
            view = method.prefetch_from if request.staleness is None else None
            loads = _loads(method, given) if method.writes else None
        question = ContextQuery(claims.session, key, wanted, claims.customer, view, loads)
        asked_at = time.monotonic()
        with self._stage("ask"):
            told = await load_context_by_name(self._ledger, claims.organisation, question)
        if told is None:
            raise InvalidToken
        session = _session(claims, told, again=method.targets_session and told.answer is not None)
        if session.customer and not method.open_to_consumers:
            raise AccessDenied
        if refusal is not None:
            raise refusal
        organisation = told.directory.organisation
        call = (method, request, organisation, told, session, reading, given)
        run = CallState(*call, named, wanted, response_keys=names, asked_at=asked_at)
        run.request_hash = request_hash(run, self._mac) if key else ""
        if session.released and told.answer and told.answer.request_hash != run.request_hash:
            raise InvalidToken
        return run

    def _claims(self, method: Method, request: Request) -> Claims:
        token = request.parameters.get("token")
        if isinstance(token, list) and request.from_query_or_form:
            token = token[-1]
        blank = token is None or (isinstance(token, str) and not token.strip())
        if blank and method.targets_session:
            raise MandatoryParameter("token")
        return self._tokens.verify(token)

    async def _inspect(self, run: CallState) -> None:
        upload: Upload = run.resolved["file"]
        mime_type = await self._inspect_image(upload.content)
        run.resolved["file"] = replace(upload, mime_type=mime_type)


def _loads(method: Method, given: JsonObject) -> tuple[list[Identifier], list[Identifier]] | None:
    """What names the aggregate of a command and the contact that it is about; a credential has to be checked first."""
    on = method.target(given)
    if method.targets_session or isinstance(on, Credential):
        return None
    about = given.get("contact_information")
    return [on] if on else [], [about] if isinstance(about, Identifier) else []


def _session(claims: Claims, told: CallContext, *, again: bool = False) -> SessionRow:
    """The session of a token, checked in the order of authentication.md, section 2.

    Where ``again``, a released session is let through: its release may be answered once more.
    """
    session, directory = told.session, told.directory
    if session is None or (session.released and not again):
        raise InvalidToken
    if session.customer != claims.customer:
        raise InvalidToken
    if told.now.timestamp() >= claims.expires_at:
        raise TokenExpired
    for kind, id_ in (("user", session.user), ("unit", session.unit)):
        entry = directory.entry(kind, id_)
        if entry is None or entry.retired:
            raise InvalidToken
    return session
