"""The pipeline of a call, for all methods (contract common.md, section 12, order of checks).

session token -> method open to the session -> parameters -> one context query (session, idempotency
key, identifiers) -> credentials -> load -> decide -> append events and views in one transaction ->
answer from the new state.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import structs

from domain.errors import (
    AccessDenied,
    InvalidToken,
    MandatoryParameter,
    Refusal,
    TokenExpired,
)
from domain.fields import ReadContext
from domain.parsing import is_blank
from domain.reference.organisation import DEFAULT_ROLES, SERVICE
from domain.token_credentials import Credential
from services.clock import utc_now
from services.context import CallContext, ContextQuery, SessionRow
from services.pipeline.idempotency import replay_response, request_hashes, stored_response
from services.pipeline.identifiers import (
    ParsedParameters,
    parse_parameters,
    resolve_identifiers,
)
from services.pipeline.instrumentation import StageTimer
from services.pipeline.method import Method, Query, WriteMethod
from services.pipeline.principal import current_principal
from services.pipeline.query_runner import Answer, run_query
from services.pipeline.request import Call, Request, Upload
from services.pipeline.session_tokens import Claims, Tokens
from services.pipeline.tenancy import load_context_by_name
from services.pipeline.token_proofs import Authenticator
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import Organisations, ReadModels
from services.reference_cache import Match

__all__ = ["AuthenticatedSession", "Dispatcher", "Refresh", "RunCommand", "check_open"]


@dataclass(frozen=True, slots=True)
class AuthenticatedSession:
    """A session that may be used, with the id and the set-up of its organisation."""

    organisation: str
    session: SessionRow
    context: CallContext


Refresh: TypeAlias = Callable[[Call], Awaitable[Call]]
RunCommand: TypeAlias = Callable[[Call, Refresh], Coroutine[None, None, bytes]]


class DispatcherStore(Organisations, ReadModels, Protocol):
    """The ports that calls are checked against and that queries read."""


class Dispatcher:
    """Runs the methods that need a session.

    ``run_command`` runs those that write: it takes a call and the function that refreshes it.
    ``limit`` is called before each call of a session and may raise `TooManyRequests`.
    ``inspect_image`` returns the mime type of an image and the image without metadata, or raises
    `InvalidProfilePhoto`; ``macs`` returns keyed hashes; ``stage`` measures.
    """

    def __init__(
        self,
        store: DispatcherStore,
        tokens: Tokens,
        authenticator: Authenticator,
        zone: ZoneInfo,
        run_command: RunCommand,
        limit: Callable[[str], None],
        inspect_image: Callable[[bytes], Awaitable[tuple[str, bytes]]],
        macs: Callable[[str], list[str]],
        stage: StageTimer,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._authenticator = authenticator
        self._zone = zone
        self._run_command = run_command
        self._limit = limit
        self._inspect_image = inspect_image
        self._macs = macs
        self._stage = stage

    async def run(self, method: Method, request: Request) -> Answer:
        """Return the answer's ``data`` as JSON. Raises the refusal of the call, or `ServiceError`."""
        call = await self._check(method, request)
        if call.key and call.context.response is not None:
            return replay_response(call.context.response, call.request_hashes)
        try:
            call = await self._resolve(call)
            if method.multipart:
                call = await self._inspect(call)
            if method.writes:
                return await self._run_command(call, self._refresh)
            return await run_query(self._store, call, self._stage)
        except Refusal:
            # A twin with the same key may have won while this call was being decided.
            response = await stored_response(self._store, call)
            if response is None:
                raise
            return response

    def check_signature(self, token: object) -> None:
        """Raise `InvalidToken` for a token that this service has not signed."""
        self._tokens.verify(token)

    async def session(self, token: object) -> AuthenticatedSession:
        """Return the open session of a token. Raises `InvalidToken` and `TokenExpired`."""
        claims = self._tokens.verify(token)
        self._limit(claims.session)
        context = await load_context_by_name(
            self._store, claims.organisation, ContextQuery(claims.session)
        )
        if context is None:
            raise InvalidToken
        return AuthenticatedSession(
            context.directory.organisation, _check_session(claims, context), context
        )

    async def _check(self, method: Method, request: Request) -> Call:
        """Return the call with its session and parameters checked."""
        claims = self._verify_token(method, request)
        self._limit(claims.session)
        reading = ReadContext(
            self._zone, utc_now().astimezone(self._zone).date(), request.from_query_or_form
        )
        parsed, refusal = ParsedParameters(), None
        try:
            parsed = parse_parameters(method, request, reading)
        except Refusal as error:
            refusal = error
        query = _context_query(method, request, claims, parsed, prefetch=refusal is None)
        asked_at = time.monotonic()
        with self._stage("ask"):
            context = await load_context_by_name(self._store, claims.organisation, query)
        if context is None:
            raise InvalidToken
        again = method.targets_session and context.response is not None
        session = _check_session(claims, context, again=again)
        check_open(method, session, context)
        if refusal is not None:
            raise refusal
        if session.customer:
            _check_staff_only(method, parsed)
        hashes = request_hashes(method, request, session, self._macs) if query.key else [""]
        if session.released and context.response and context.response.request_hash not in hashes:
            raise InvalidToken
        return Call(
            method=method,
            request=request,
            reading=reading,
            context=context,
            session=session,
            parsed=parsed,
            work=UnitOfWork(context.directory, self._zone),
            asked_at=asked_at,
            request_hashes=hashes,
        )

    async def _resolve(self, call: Call) -> Call:
        """Find what the parameters name, and verify the credentials among them once."""
        proofs = call.verified.proofs

        async def prove(credential: Credential, matches: Sequence[Match]) -> str:
            if credential not in proofs:
                with self._stage("credentials"):
                    proof = await self._authenticator.verify(
                        call.guess_context, credential, matches
                    )
                proofs[credential] = proof
            return proofs[credential].entity_id

        with self._stage("resolve"):
            return await resolve_identifiers(call, prove)

    async def _refresh(self, call: Call) -> Call:
        """Return the call on the context as it is after another change came first."""
        query = ContextQuery(identifiers=call.parsed.stored, customer=call.session.customer)
        with self._stage("ask"):
            context = await self._store.load_context(call.organisation, query)
        return await self._resolve(structs.replace(call, context=context))

    def _verify_token(self, method: Method, request: Request) -> Claims:
        token = request.parameters.get("token")
        if isinstance(token, list) and request.from_query_or_form:
            token = token[-1]
        if is_blank(token) and method.targets_session:
            raise MandatoryParameter("token")
        return self._tokens.verify(token)

    async def _inspect(self, call: Call) -> Call:
        """Return the call with its file as it is to be stored."""
        upload: Upload = call.params["file"]
        mime_type, content = await self._inspect_image(upload.content)
        file = {"file": replace(upload, mime_type=mime_type, content=content)}
        parsed = structs.replace(call.parsed, values=call.parsed.values | file)
        return structs.replace(call, parsed=parsed, params=call.params | file)


def check_open(method: Method | None, session: SessionRow, context: CallContext) -> None:
    """Raise `AccessDenied` unless a method is open to a session; None: what is no method, but read like one.

    Customers see what is open to them. Everyone else needs the role `service`, other than for ending a session:
    auditors, operators and analysts have pages and endpoints of their own.
    """
    if session.customer:
        is_open = method is None or method.open_to_consumers
    else:
        roles = context.directory.fields("user", session.user).get("roles", DEFAULT_ROLES)
        is_open = SERVICE in roles or (method is not None and method.targets_session)
    if not is_open:
        raise AccessDenied


def _check_staff_only(method: Method, parsed: ParsedParameters) -> None:
    """Raise `AccessDenied` for a parameter that customers may not give, before anything is looked up by it."""
    for path, parameter in method.staff_only.items():
        value: Any = parsed.values
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            raise AccessDenied(parameter)


def _context_query(
    method: Method, request: Request, claims: Claims, parsed: ParsedParameters, *, prefetch: bool
) -> ContextQuery:
    """Return what a call must know; ``prefetch`` also loads what it will show or change."""
    view, targets = None, None
    if prefetch and claims.customer is None:
        if isinstance(method, Query) and request.staleness is None:
            view = method.prefetch_from
        if isinstance(method, WriteMethod):
            targets = method.load_targets(parsed.values)
    key = request.idempotency_key if method.writes else None
    return ContextQuery(claims.session, key, parsed.stored, claims.customer, view, targets)


def _check_session(claims: Claims, context: CallContext, *, again: bool = False) -> SessionRow:
    """Return the session of a token, checked in the order of authentication.md, section 2.

    :param again: let a released session through: its release may be answered again.
    Raises `InvalidToken` and `TokenExpired`.
    """
    session, directory = context.session, context.directory
    if session is not None:
        _note_principal(session, directory.organisation)
    if session is None or (session.released and not again):
        raise InvalidToken
    if session.customer != claims.customer:
        raise InvalidToken
    if context.now.timestamp() >= min(claims.expires_at, session.expires_at):
        raise TokenExpired
    user, unit = directory.entry("user", session.user), directory.entry("unit", session.unit)
    if user is None or user.retired or unit is None or unit.retired:
        raise InvalidToken
    if session.ended or session.user_epoch != user.session_epoch:
        raise InvalidToken
    return session


def _note_principal(session: SessionRow, organisation: str) -> None:
    """Note whose call it is, for the security log."""
    principal = current_principal()
    principal.organisation, principal.user, principal.session = (
        organisation,
        session.user,
        session.id,
    )
    principal.account = session.customer.account if session.customer else ""
