"""Methods 1, 2 and 4: logins and the end of a session (contract authentication.md)."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from domain.aggregate import Stamp
from domain.errors import (
    InvalidCredentials,
    InvalidToken,
    InvalidUnit,
    InvalidWebApiKey,
)
from domain.fields import Parameters, Shape, Values, mandatory
from domain.identifiers import Identifier, normalised
from domain.reference_entities import SECRETS
from domain.scalars import Text
from domain.session import Session
from services.call import Call, Request
from services.directory import Directory, Entry
from services.draft import Draft
from services.endpoint import command, open_method
from services.ids import id_text
from services.ports import Hasher, Ledger, Loaded, Question, Told
from services.tenancy import ask_by_name
from services.tokens import LIFETIME, Tokens

__all__ = ["Desk"]

TOKEN = Shape("token", Text(name="token"))
UNIT = Text(name="unit")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a login needs of the world."""

    ledger: Ledger
    tokens: Tokens
    hasher: Hasher
    zone: ZoneInfo


@open_method(
    1,
    "authentication/token",
    Parameters(
        mandatory(Text(name="username")),
        mandatory(Text(name="password")),
        mandatory(Text(name="organisation")),
        UNIT,
    ),
    TOKEN,
)
async def token(request: Request, given: Values, desk: Desk) -> Values:
    """Begins a session of a user with username and password."""
    told = await ask_by_name(desk.ledger, given["organisation"], Question())
    user = _user_called(told.directory, given["username"]) if told else None
    organisation = told.directory.organisation if told else ""
    owner = f"user/{user.id if user else ''}"
    kept = await desk.ledger.secret(organisation, owner, "password")
    # The slow comparison is made for users that do not exist, too: it takes as long for them.
    fits = await desk.hasher.verify(kept.verifier if kept else None, given["password"])
    if told is None or user is None or not fits:
        raise InvalidCredentials
    return await _begin(request, given, user, told, desk)


@open_method(2, "authentication/web_api_key/token", Parameters(UNIT), TOKEN)
async def web_api_key_token(request: Request, given: Values, desk: Desk) -> Values:
    """Begins a session of the user that a systemic web API key stands for."""
    key, told = await _key(request, desk)
    if key.fields.get("classification") != "SYSTEMIC_KEY":
        raise InvalidWebApiKey
    user = told.directory.entry("user", key.fields.get("user"))
    if user is None or user.retired:
        raise InvalidWebApiKey
    return await _begin(request, given, user, told, desk)


@command(
    4,
    "authentication/token/release",
    Parameters(),
    None,
    shows="nothing",
    fields_set=False,
    aggregate=Session,
)
def release(session: Session, call: Call) -> None:
    """Ends a session; its token is no longer accepted anywhere."""
    if session.state != "OPEN":
        raise InvalidToken
    session.release(call.by)


def _user_called(directory: Directory, username: str) -> Entry | None:
    name = normalised("username", username, folded=True)
    for match in directory.matches(Identifier("user", "username", name, "username")):
        if not match.retired:
            return directory.entry("user", match.id)
    return None


async def _key(request: Request, desk: Desk) -> tuple[Entry, Told]:
    """The web API key of the Basic header, with its organisation. Raises `InvalidWebApiKey`."""
    clean = SECRETS["key"].clean
    key = clean(request.web_api_key) if clean and request.web_api_key else None
    holder = await desk.ledger.holder(f"web_api_key={desk.hasher.mac(key)}") if key else None
    if holder is None:
        raise InvalidWebApiKey
    organisation, ref = holder
    told = await desk.ledger.ask(organisation, Question())
    kind, _, id_ = ref.partition("/")
    entry = told.directory.entry(kind, id_)
    tenant = told.directory.entry("organisation", organisation)
    if entry is None or entry.retired or tenant is None or tenant.retired:
        raise InvalidWebApiKey
    return entry, told


async def _begin(request: Request, given: Values, user: Entry, told: Told, desk: Desk) -> Values:
    """Records a new session and answers its token."""
    directory = told.directory
    unit = _unit(user, given.get("unit"), directory)
    by = Stamp(told.now, user.id, unit)
    session = Session.begin(
        Session.Issued,
        by,
        id=uuid4(),
        session_user=user.id,
        session_unit=unit,
        expires_at=int(told.now.timestamp()) + LIFETIME,
    )
    draft = Draft(directory, desk.zone, Loaded())
    draft.collect([session])
    change = draft.change(desk.ledger, _metadata(request, session.id, by))
    await desk.ledger.append(directory.organisation, change)
    name = str(directory.settings["name"])
    username = str(user.fields["username"])
    return {"token": desk.tokens.issue(id_text(session.id), username, name, unit, told.now)}


def _unit(user: Entry, given: str | None, directory: Directory) -> str:
    """The unit of the session: the given one if the user may use it, else the user's default."""
    default = user.fields.get("default_unit")
    unit = normalised("id", given) if given else default
    allowed = {default, *(user.fields.get("unit") or ())}
    entry = directory.entry("unit", unit)
    if unit not in allowed or entry is None or entry.retired:
        raise InvalidUnit
    return entry.id


def _metadata(request: Request, session: UUID, by: Stamp) -> Values:
    return {
        "at": by.at.isoformat(),
        "user": by.user,
        "unit": by.unit,
        "session": id_text(session),
        "request": request.request_id,
        "correlation": request.correlation_id or request.request_id,
        "client": request.client,
    }
