"""Methods 1 to 4: logins and the end of a session (contract authentication.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from domain.aggregate import Attribution
from domain.errors import (
    InvalidCredentials,
    InvalidToken,
    InvalidUnit,
    InvalidWebApiKey,
    MandatoryParameter,
    Refusal,
    SemiOptionalParameter,
)
from domain.fields import JsonObject, Level, Parameters, ResponseShape, mandatory, when
from domain.identifiers import Identifier, normalised
from domain.reference.catalogue import SECRETS
from domain.scalar_fields import Text
from domain.session import Session
from domain.token_credentials import Credential, CredentialReference
from services.context import CallContext, ConsumerScope, ContextQuery
from services.ids import format_id
from services.pipeline.method import command, login_method
from services.pipeline.request import Call, Request
from services.pipeline.session_tokens import LIFETIME, Tokens
from services.pipeline.shown_secrets import GuessContext
from services.pipeline.tenancy import load_context_by_name
from services.pipeline.token_proofs import Authenticator
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import CredentialStore, EventStore, Hasher, Organisations
from services.reference_cache import ReferenceCache, ReferenceRecord

__all__ = ["LoginServices"]

TOKEN = ResponseShape("token", Text(name="token"))
UNIT = Text(name="unit")


class LoginStore(Organisations, EventStore, CredentialStore, Protocol):
    """What logins read, and where they record sessions."""


@dataclass(frozen=True, slots=True)
class LoginServices:
    """What a login needs of the world."""

    ledger: LoginStore
    tokens: Tokens
    hasher: Hasher
    authenticator: Authenticator
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class ConsumerLogin:
    """A customer who has logged in, and the access token that was shown (ids)."""

    access_token: str
    customer: ConsumerScope

    @property
    def events(self) -> JsonObject:
        """What the session's first event says of it."""
        return {
            "access_token": self.access_token,
            "account": self.customer.account,
            "contact": self.customer.contact,
        }


ACCESS_TOKEN = CredentialReference(name="access_token")
NAMED = (Text(name="username"), Text(name="password"))


def _one_form(given: JsonObject) -> None:
    """Username and password, or an access token (section 3). Raises `SemiOptionalParameter`."""
    if given.get(ACCESS_TOKEN.name) and any(given.get(row.name) for row in NAMED):
        raise SemiOptionalParameter(f"username, password, {ACCESS_TOKEN.parameter}")


def _whole_form(given: JsonObject) -> Level:
    """Raises `MandatoryParameter` where neither form is complete."""
    for row in NAMED:
        if not given.get(ACCESS_TOKEN.name) and not (given.get(row.name) or "").strip():
            raise MandatoryParameter(row.name)
    return Level.MANDATORY


@login_method(
    1,
    "authentication/token",
    Parameters(
        *NAMED, ACCESS_TOKEN, when(Text(name="organisation"), _whole_form), UNIT, check=_one_form
    ),
    TOKEN,
)
async def token(request: Request, given: JsonObject, desk: LoginServices) -> JsonObject:
    """Begins a session of a user with username and password, or of a customer."""
    credential: Credential | None = given.get(ACCESS_TOKEN.name)
    asked = (credential.name,) if credential and credential.name else ()
    told = await load_context_by_name(
        desk.ledger, given["organisation"], ContextQuery(identifiers=asked)
    )
    if credential is not None:
        return await _consumer(request, given, credential, told, desk)
    user = _user_called(told.directory, given["username"]) if told else None
    organisation = told.directory.organisation if told else ""
    owner = f"user/{user.id if user else ''}"
    kept = await desk.ledger.secret(organisation, owner, "password")
    # The slow comparison is made for users that do not exist, too: it takes as long for them.
    fits = await desk.hasher.verify(kept.verifier if kept else None, given["password"])
    if told is None or user is None or not fits:
        raise InvalidCredentials
    return await _begin(request, given, user, told, desk)


@login_method(2, "authentication/web_api_key/token", Parameters(UNIT), TOKEN)
async def web_api_key_token(request: Request, given: JsonObject, desk: LoginServices) -> JsonObject:
    """Begins a session of the user that a systemic web API key stands for."""
    key, told = await _key(request, desk, "SYSTEMIC_KEY")
    return await _begin(request, given, _user_of(key, told), told, desk)


@login_method(
    3,
    "authentication/consumer_application_key/token",
    Parameters(mandatory(ACCESS_TOKEN), UNIT),
    TOKEN,
)
async def consumer_application_key_token(
    request: Request, given: JsonObject, desk: LoginServices
) -> JsonObject:
    """Begins a session of a customer, through the application that a key stands for."""
    credential: Credential = given[ACCESS_TOKEN.name]
    key, told = await _key(request, desk, "CONSUMER_APPLICATION_KEY")
    asked = ContextQuery(identifiers=(credential.name,) if credential.name else ())
    told = await desk.ledger.load_context(told.directory.organisation, asked)
    customer = await customer_of(request, credential, told, desk)
    return await _begin(request, given, _user_of(key, told), told, desk, customer)


@command(
    4,
    "authentication/token/release",
    Parameters(),
    None,
    answer_with="nothing",
    fields_set=False,
    open_to_consumers=True,
)
def release(session: Session, call: Call) -> None:
    """Ends a session; its token is no longer accepted anywhere."""
    if session.state != "OPEN":
        raise InvalidToken
    session.release(call.actor)


async def customer_of(
    request: Request, credential: Credential, told: CallContext, desk: LoginServices
) -> ConsumerLogin:
    """The customer whose credential it is (section 6). Raises `InvalidCredentials`."""
    caller = GuessContext(told.directory, request.client)
    try:
        matches = told.matches[0] if told.matches else ()
        proof = await desk.authenticator.verify(caller, credential, matches)
    except Refusal as error:
        raise InvalidCredentials(retry_after=error.retry_after) from error
    customer = await desk.authenticator.customer(caller, proof)
    if customer is None:
        raise InvalidCredentials
    return ConsumerLogin(proof.entity_id, customer)


def _user_called(directory: ReferenceCache, username: str) -> ReferenceRecord | None:
    name = normalised("username", username, folded=True)
    for match in directory.matches(Identifier("user", "username", name, "username")):
        if not match.retired:
            return directory.entry("user", match.id)
    return None


async def _consumer(
    request: Request,
    given: JsonObject,
    credential: Credential,
    told: CallContext | None,
    desk: LoginServices,
) -> JsonObject:
    """A session of a customer, of the user that the organisation keeps for them (section 3)."""
    if told is None:
        await desk.hasher.verify(None, credential.pass_code or "")
        raise InvalidCredentials
    customer = await customer_of(request, credential, told, desk)
    username = told.directory.settings.get("consumer_username")
    user = _user_called(told.directory, username) if username else None
    if user is None:
        raise InvalidCredentials
    return await _begin(request, given, user, told, desk, customer)


def _user_of(key: ReferenceRecord, told: CallContext) -> ReferenceRecord:
    """The user that a web API key stands for. Raises `InvalidWebApiKey`."""
    user = told.directory.entry("user", key.fields.get("user"))
    if user is None or user.retired:
        raise InvalidWebApiKey
    return user


async def _key(
    request: Request, desk: LoginServices, classification: str
) -> tuple[ReferenceRecord, CallContext]:
    """The web API key of the Basic header, with its organisation. Raises `InvalidWebApiKey`."""
    clean = SECRETS["key"].clean
    key = clean(request.web_api_key) if clean and request.web_api_key else None
    holder = await desk.ledger.claim_holder(f"web_api_key={desk.hasher.mac(key)}") if key else None
    if holder is None:
        raise InvalidWebApiKey
    organisation, ref = holder
    told = await desk.ledger.load_context(organisation, ContextQuery())
    kind, _, id_ = ref.partition("/")
    entry = told.directory.entry(kind, id_)
    tenant = told.directory.entry("organisation", organisation)
    if entry is None or entry.retired or tenant is None or tenant.retired:
        raise InvalidWebApiKey
    if entry.fields.get("classification") != classification:
        raise InvalidWebApiKey
    return entry, told


async def _begin(
    request: Request,
    given: JsonObject,
    user: ReferenceRecord,
    told: CallContext,
    desk: LoginServices,
    consumer: ConsumerLogin | None = None,
) -> JsonObject:
    """Records a new session and answers its token."""
    directory = told.directory
    unit = _unit(user, given.get("unit"), directory)
    by = Attribution(told.now, user.id, unit)
    session = Session.create(
        Session.IssuedToConsumer if consumer else Session.Issued,
        by,
        id=uuid4(),
        session_user=user.id,
        session_unit=unit,
        expires_at=int(told.now.timestamp()) + LIFETIME,
        **(consumer.events if consumer else {}),
    )
    draft = UnitOfWork(directory, desk.zone)
    draft.collect([session])
    change = draft.to_commit(desk.ledger, _metadata(request, session.id, by))
    await desk.ledger.append(directory.organisation, change)
    name = str(directory.settings["name"])
    username = str(user.fields["username"])
    customer = consumer.customer if consumer else None
    issued = desk.tokens.issue(format_id(session.id), username, name, unit, told.now, customer)
    return {"token": issued}


def _unit(user: ReferenceRecord, given: str | None, directory: ReferenceCache) -> str:
    """The unit of the session: the given one if the user may use it, else the user's default."""
    default = user.fields.get("default_unit")
    unit = normalised("id", given) if given else default
    allowed = {default, *(user.fields.get("unit") or ())}
    entry = directory.entry("unit", unit)
    if unit not in allowed or entry is None or entry.retired:
        raise InvalidUnit
    return entry.id


def _metadata(request: Request, session: UUID, by: Attribution) -> JsonObject:
    return {
        "at": by.at.isoformat(),
        "user": by.user,
        "unit": by.unit,
        "session": format_id(session),
        "request": request.request_id,
        "correlation": request.correlation_id or request.request_id,
        "client": request.client,
    }
