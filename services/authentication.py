"""Methods 1 to 4: logins and the end of a session (contract authentication.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from domain.scalar_fields import IDENTIFYING, Text
from domain.session import Session
from domain.token_credentials import Credential, CredentialReference
from services.context import CallContext, ConsumerScope, ContextQuery
from services.ids import format_id
from services.pipeline.guard import Guesser, SecretGuard, guess_limits
from services.pipeline.method import command, login_method
from services.pipeline.principal import current_principal
from services.pipeline.request import Call, Request
from services.pipeline.session_tokens import LIFETIME, Tokens
from services.pipeline.shown_secrets import AUTHENTICATION_CODE, GuessContext
from services.pipeline.tenancy import load_context_by_name
from services.pipeline.token_proofs import Authenticator
from services.pipeline.unit_of_work import UnitOfWork
from services.ports import EventStore, Hasher, Organisations, SecretStore
from services.reference_cache import ReferenceCache, ReferenceRecord

__all__ = ["LoginServices"]

TOKEN = ResponseShape("token", Text(name="token"))
UNIT = Text(name="unit", max_length=IDENTIFYING)


class LoginStore(Organisations, EventStore, SecretStore, Protocol):
    """The ports that logins read and record sessions in."""


@dataclass(frozen=True, slots=True)
class LoginServices:
    """The services that a login depends on."""

    ledger: LoginStore
    tokens: Tokens
    hasher: Hasher
    authenticator: Authenticator
    guard: SecretGuard
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class ConsumerLogin:
    """A customer who has logged in, and the access token that was shown (ids), with their session epochs."""

    access_token: str
    customer: ConsumerScope
    epochs: Mapping[str, int]

    @property
    def events(self) -> JsonObject:
        """The fields of the session's first event."""
        return {
            "access_token": self.access_token,
            "account": self.customer.account,
            "contact": self.customer.contact,
        }


ACCESS_TOKEN = CredentialReference(name="access_token")
USER_CREDENTIALS = (Text(name="username", max_length=IDENTIFYING), Text(name="password"))


def check_one_form(params: JsonObject) -> None:
    """Username and password, or an access token (section 3). Raises `SemiOptionalParameter`."""
    if params.get(ACCESS_TOKEN.name) and any(params.get(row.name) for row in USER_CREDENTIALS):
        raise SemiOptionalParameter(f"username, password, {ACCESS_TOKEN.parameter}")


def require_complete_form(params: JsonObject) -> Level:
    """Raises `MandatoryParameter` where neither form is complete."""
    for row in USER_CREDENTIALS:
        if not params.get(ACCESS_TOKEN.name) and not (params.get(row.name) or "").strip():
            raise MandatoryParameter(row.name)
    return Level.MANDATORY


@login_method(
    1,
    "authentication/token",
    Parameters(
        *USER_CREDENTIALS,
        ACCESS_TOKEN,
        when(Text(name="organisation", max_length=IDENTIFYING), require_complete_form),
        UNIT,
        check=check_one_form,
    ),
    TOKEN,
)
async def token(request: Request, params: JsonObject, services: LoginServices) -> JsonObject:
    """Begins a session of a user with username and password, or of a customer."""
    credential: Credential | None = params.get(ACCESS_TOKEN.name)
    identifiers = (credential.name,) if credential and credential.name else ()
    context = await load_context_by_name(
        services.ledger, params["organisation"], ContextQuery(identifiers=identifiers)
    )
    if credential is not None:
        return await _begin_consumer_session(request, params, credential, context, services)
    user = _find_user(context.directory, params["username"]) if context else None
    organisation = context.directory.organisation if context else ""
    principal = current_principal()
    principal.organisation, principal.user = organisation, user.id if user else ""
    owner = f"user/{user.id}" if user else services.guard.unknown(_full_name(params))
    secret = await services.ledger.secret(organisation, owner, "password")
    guesser = _guesser(request, context)
    # The slow comparison is made for users that do not exist, too: it takes as long for them.
    await services.guard.verify(
        guesser,
        f"{owner}/password",
        secret.verifier if secret else None,
        params["password"],
        InvalidCredentials(),
    )
    assert context is not None
    assert user is not None
    return await _begin_session(request, params, user, context, services)


@login_method(2, "authentication/web_api_key/token", Parameters(UNIT), TOKEN)
async def web_api_key_token(
    request: Request, params: JsonObject, services: LoginServices
) -> JsonObject:
    """Begins a session of the user that a systemic web API key stands for."""
    key, context = await _find_key(request, services, "SYSTEMIC_KEY", ())
    return await _begin_session(request, params, _key_user(key, context), context, services)


@login_method(
    3,
    "authentication/consumer_application_key/token",
    Parameters(mandatory(ACCESS_TOKEN), UNIT),
    TOKEN,
)
async def consumer_application_key_token(
    request: Request, params: JsonObject, services: LoginServices
) -> JsonObject:
    """Begins a session of a customer, through the application that a key stands for."""
    credential: Credential = params[ACCESS_TOKEN.name]
    identifiers = (credential.name,) if credential.name else ()
    key, context = await _find_key(request, services, "CONSUMER_APPLICATION_KEY", identifiers)
    customer = await verify_consumer(request, credential, context, services)
    return await _begin_session(
        request, params, _key_user(key, context), context, services, customer
    )


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


async def verify_consumer(
    request: Request, credential: Credential, context: CallContext, services: LoginServices
) -> ConsumerLogin:
    """Return the customer whose credential it is (section 6). Raises `InvalidCredentials`."""
    current_principal().organisation = context.directory.organisation
    guess_context = GuessContext(context.directory, request.source, is_gone=request.is_gone)
    try:
        matches = context.matches[0] if context.matches else ()
        proof = await services.authenticator.verify(guess_context, credential, matches)
    except Refusal as error:
        refused = InvalidCredentials()
        raise (refused.after(error.retry_after) if error.retry_after else refused) from error
    customer = await services.authenticator.customer(guess_context, proof)
    if customer is None:
        raise InvalidCredentials
    return ConsumerLogin(proof.entity_id, *customer)


def _guesser(request: Request, context: CallContext | None) -> Guesser:
    """Return the caller of a login as the guard counts its tries, in no organisation if it is unknown."""
    settings = context.directory.settings if context else {}
    organisation = context.directory.organisation if context else ""
    return Guesser(organisation, guess_limits(settings), request.source, request.is_gone)


def _full_name(params: JsonObject) -> str:
    """Return what stands for a user in an organisation, whether they exist or not."""
    organisation = normalised("name", params["organisation"])
    username = normalised("username", params.get("username") or "", case_insensitive=True)
    return f"user={organisation}/{username}"


def _find_user(directory: ReferenceCache, username: str) -> ReferenceRecord | None:
    name = normalised("username", username, case_insensitive=True)
    for match in directory.matches(Identifier("user", "username", name, "username")):
        if not match.retired:
            return directory.entry("user", match.id)
    return None


async def _begin_consumer_session(
    request: Request,
    params: JsonObject,
    credential: Credential,
    context: CallContext | None,
    services: LoginServices,
) -> JsonObject:
    """Begin a session of a customer, as the user that the organisation keeps for them (section 3)."""
    if context is None:
        await _refuse_consumer(request, params, credential, services)
        raise InvalidCredentials
    customer = await verify_consumer(request, credential, context, services)
    username = context.directory.settings.get("consumer_username")
    user = _find_user(context.directory, username) if username else None
    if user is None:
        raise InvalidCredentials
    return await _begin_session(request, params, user, context, services, customer)


async def _refuse_consumer(
    request: Request, params: JsonObject, credential: Credential, services: LoginServices
) -> None:
    """Count a credential for an organisation that nobody has. Raises `InvalidCredentials`, as late as for others."""
    guesser, wrong = _guesser(request, None), InvalidCredentials()
    if credential.pass_code is None:
        await services.guard.judge(guesser, None, wrong, fits=False, shared=AUTHENTICATION_CODE)
    else:
        assert credential.identifier is not None
        organisation = normalised("name", params["organisation"])
        owner = services.guard.unknown(f"identifier={organisation}/{credential.identifier}")
        await services.guard.verify(
            guesser, f"{owner}/pass_code", None, credential.pass_code, wrong
        )


def _key_user(key: ReferenceRecord, context: CallContext) -> ReferenceRecord:
    """Return the user of a web API key. Raises `InvalidWebApiKey`."""
    user = context.directory.entry("user", key.fields.get("user"))
    if user is None or user.retired:
        raise InvalidWebApiKey
    return user


async def _find_key(
    request: Request,
    services: LoginServices,
    classification: str,
    identifiers: Sequence[Identifier],
) -> tuple[ReferenceRecord, CallContext]:
    """Return the web API key of the Basic header, with the context of it and of identifiers.

    Raises `InvalidWebApiKey`.
    """
    clean = SECRETS["key"].clean
    key = clean(request.web_api_key) if clean and request.web_api_key else None
    if not key:
        raise InvalidWebApiKey
    claims = [f"web_api_key={mac}" for mac in services.hasher.macs(key)]
    holder = await services.ledger.claim_holder(*claims)
    # Whoever has a key of 128 random bits has not guessed it: wrong ones, which name nobody, are counted
    # by source alone. Whoever logs in from there with a right one does not wait for a neighbour whose
    # key was exchanged and that knocks again and again; to let it through tells nothing, for nobody
    # can try so many.
    await services.guard.judge(
        _guesser(request, None),
        "/".join(holder) if holder else None,
        InvalidWebApiKey(),
        fits=holder is not None,
        shared="web_api_key",
    )
    assert holder is not None
    organisation, ref = holder
    query = ContextQuery(identifiers=tuple(identifiers))
    context = await services.ledger.load_context(organisation, query)
    # Who has changed the key before the context was read has ended the sessions of its user before, too.
    if await services.ledger.claim_holder(*claims) != holder:
        raise InvalidWebApiKey
    kind, _, id_ = ref.partition("/")
    entry = context.directory.entry(kind, id_)
    tenant = context.directory.entry("organisation", organisation)
    if entry is None or entry.retired or tenant is None or tenant.retired:
        raise InvalidWebApiKey
    if entry.fields.get("classification") != classification:
        raise InvalidWebApiKey
    return entry, context


async def _begin_session(
    request: Request,
    params: JsonObject,
    user: ReferenceRecord,
    context: CallContext,
    services: LoginServices,
    consumer: ConsumerLogin | None = None,
) -> JsonObject:
    """Record a new session and return its token."""
    directory = context.directory
    unit = _choose_unit(user, params.get("unit"), directory)
    by = Attribution(context.now, user.id, unit)
    session = Session.create(
        Session.IssuedToConsumer if consumer else Session.Issued,
        by,
        id=uuid4(),
        session_user=user.id,
        session_unit=unit,
        expires_at=int(context.now.timestamp()) + LIFETIME,
        epochs={f"user/{user.id}": user.session_epoch, **(consumer.epochs if consumer else {})},
        **(consumer.events if consumer else {}),
    )
    work = UnitOfWork(directory, services.zone)
    work.collect([session])
    commit = work.to_commit(services.ledger, _metadata(request, session.id, by))
    await services.ledger.append(directory.organisation, commit)
    principal = current_principal()
    principal.organisation, principal.user = directory.organisation, user.id
    principal.session = format_id(session.id)
    principal.account = consumer.customer.account if consumer else ""
    name = str(directory.settings["name"])
    username = str(user.fields["username"])
    customer = consumer.customer if consumer else None
    token = services.tokens.issue(
        format_id(session.id), username, name, unit, context.now, customer
    )
    return {"token": token}


def _choose_unit(user: ReferenceRecord, requested: str | None, directory: ReferenceCache) -> str:
    """Return the requested unit, or else the user's default one. Raises `InvalidUnit`."""
    default = user.fields.get("default_unit")
    unit = normalised("id", requested) if requested else default
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
