"""The one way of a call, for all methods (contract common.md, section 12, order of checks).

session token -> parameters -> one question to the database (session, idempotency key, identifiers)
-> load -> decide -> append facts and views in one transaction -> answer from the new state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from domain.aggregate import Stamp
from domain.errors import (
    EntityNotFound,
    InvalidToken,
    KeyReused,
    MandatoryParameter,
    Refusal,
    TokenExpired,
)
from domain.fields import Reading, Values
from domain.identifiers import Identifier
from services.call import Call, Request, Upload
from services.compose import Composer
from services.endpoint import Method
from services.fields_set import cut, read_fields_set
from services.ports import Answer, Found, Ledger, Question, Select, Session, Told
from services.resolve import identifiers, is_stored, resolved
from services.tenancy import ask_by_name
from services.tokens import Claims, Tokens

__all__ = ["OpenSession", "Run", "Runner", "Write", "repeated", "utc_now"]


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Run:
    """One call between its checks and its answer.

    ``given`` are the parameters with references resolved, ``refs`` the entities outside the
    directory that they name, ``names`` the wanted keys of the answer.
    """

    method: Method
    request: Request
    organisation: str
    told: Told
    session: Session
    reading: Reading
    given: Values
    refs: tuple[str, ...] = ()
    names: frozenset[str] | None = None
    request_hash: str = ""

    @property
    def key(self) -> str | None:
        """The idempotency key, for methods that write."""
        return self.request.idempotency_key if self.method.verb == "POST" else None

    def composer(self, compacts: dict[str, bytes]) -> Composer:
        """Fills documents for this caller."""
        directory = self.told.directory
        return Composer(compacts, directory.compact, last_name_first=directory.last_name_first)

    def call(self, compacts: dict[str, bytes]) -> Call:
        """What the endpoint sees."""
        return Call(
            session=self.session,
            directory=self.told.directory,
            given=self.given,
            by=Stamp(self.told.now, self.session.user, self.session.unit),
            reading=self.reading,
            composer=self.composer(compacts),
        )


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session that may be used, with the id of its organisation."""

    organisation: str
    session: Session


Write = Callable[[Run], Coroutine[None, None, bytes]]


class Runner:
    """Runs the methods that need a session.

    ``limit`` is asked before each call of a session and may raise `TooManyRequests`;
    ``inspect_image`` returns the mime type of an image or raises `InvalidProfilePhoto`.
    """

    def __init__(
        self,
        ledger: Ledger,
        tokens: Tokens,
        zone: ZoneInfo,
        write: Write,
        limit: Callable[[str], None],
        inspect_image: Callable[[bytes], Awaitable[str]],
    ) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._zone = zone
        self._write = write
        self._limit = limit
        self._inspect_image = inspect_image

    async def run(self, method: Method, request: Request) -> bytes:
        """The answer's ``data`` as JSON. Raises what the call is refused with, or `ServiceError`."""
        run, asked = await self._checked(method, request)
        if run.key and run.told.answer is not None:
            return _repeated(run.told.answer, run.request_hash)
        try:
            run.given, run.refs = resolved(
                run.given,
                dict(zip(asked, run.told.matches, strict=True)),
                run.told.directory,
                choosing=method.verb == "POST",
            )
            if method.multipart:
                await self._inspect(run)
            return await (self._read(run) if method.kind == "query" else self._write(run))
        except Refusal:
            # A twin with the same key may have won while this call was being decided.
            answer = await repeated(self._ledger, run)
            if answer is None:
                raise
            return answer

    async def session(self, token: object) -> OpenSession:
        """The open session of a token. Raises `InvalidToken` and `TokenExpired`."""
        claims = self._tokens.verify(token)
        self._limit(claims.session)
        told = await ask_by_name(self._ledger, claims.organisation, Question(claims.session))
        if told is None:
            raise InvalidToken
        return OpenSession(told.directory.organisation, _session(claims, told))

    async def _checked(
        self, method: Method, request: Request
    ) -> tuple[Run, tuple[Identifier, ...]]:
        """The call with its session and parameters checked, and the identifiers asked for."""
        claims = self._claims(method, request)
        self._limit(claims.session)
        reading = Reading(self._zone, utc_now().astimezone(self._zone).date(), request.textual)
        given: Values = {}
        names, refusal = None, None
        try:
            given = method.parameters.read({**request.raw, **request.files}, reading)
            names = read_fields_set(request.raw.get("fields_set"), textual=request.textual)
        except Refusal as error:
            refusal = error
        asked = tuple(dict.fromkeys(i for i in identifiers(given) if is_stored(i)))
        key = request.idempotency_key if method.verb == "POST" else None
        question = Question(claims.session, key, asked)
        told = await ask_by_name(self._ledger, claims.organisation, question)
        if told is None:
            raise InvalidToken
        session = _session(claims, told, again=method.ends_session and told.answer is not None)
        if refusal is not None:
            raise refusal
        organisation = told.directory.organisation
        run = Run(method, request, organisation, told, session, reading, given, names=names)
        run.request_hash = _request_hash(run) if key else ""
        if session.released and told.answer and told.answer.request_hash != run.request_hash:
            raise InvalidToken
        return run, asked

    def _claims(self, method: Method, request: Request) -> Claims:
        token = request.raw.get("token")
        if isinstance(token, list) and request.textual:
            token = token[-1]
        blank = token is None or (isinstance(token, str) and not token.strip())
        if blank and method.ends_session:
            raise MandatoryParameter("token")
        return self._tokens.verify(token)

    async def _inspect(self, run: Run) -> None:
        upload: Upload = run.given["file"]
        mime_type = await self._inspect_image(upload.content)
        run.given["file"] = replace(upload, mime_type=mime_type)

    async def _read(self, run: Run) -> bytes:
        wanted: Select | tuple[str, bytes] = run.method.function(run.call({}))
        if isinstance(wanted, Select):
            page = await self._ledger.select(run.organisation, wanted)
        else:
            ref, otherwise = wanted
            page = Found([await self._ledger.compact(run.organisation, ref) or otherwise])
        fill = run.composer(page.compacts).fill
        documents = [cut(fill(document), run.names) for document in page.documents]
        if run.method.many:
            return b"[" + b",".join(documents) + b"]"
        if not documents:
            raise EntityNotFound
        return documents[0]


def _session(claims: Claims, told: Told, *, again: bool = False) -> Session:
    """The session of a token, checked in the order of authentication.md, section 2.

    Where ``again``, a released session is let through: its release may be answered once more.
    """
    session, directory = told.session, told.directory
    if session is None or (session.released and not again):
        raise InvalidToken
    if told.now.timestamp() >= claims.expires_at:
        raise TokenExpired
    for kind, id_ in (("user", session.user), ("unit", session.unit)):
        entry = directory.entry(kind, id_)
        if entry is None or entry.retired:
            raise InvalidToken
    return session


async def repeated(ledger: Ledger, run: Run) -> bytes | None:
    """The first answer to the call's idempotency key, if there is one by now."""
    if not run.key:
        return None
    told = await ledger.ask(run.organisation, Question(key=run.key))
    return _repeated(told.answer, run.request_hash) if told.answer else None


def _repeated(answer: Answer, request_hash: str) -> bytes:
    """The first answer again; raises `KeyReused` if the key came with another request."""
    if answer.request_hash != request_hash:
        raise KeyReused("Idempotency-Key")
    return answer.data


def _request_hash(run: Run) -> str:
    """What makes two requests the same: the method, the user and the body but for the token.

    A session that is to be ended is named by nothing else than the token.
    """
    body = {name: value for name, value in run.request.raw.items() if name != "token"}
    files = {name: hashlib.sha256(f.content).hexdigest() for name, f in run.request.files.items()}
    ended = [run.session.id] if run.method.ends_session else []
    said = [run.method.path, run.session.user, body, files, *ended]
    # orjson knows no integers beyond 64 bits, and a body may hold any.
    return hashlib.sha256(msgspec.json.encode(said, order="sorted")).hexdigest()
