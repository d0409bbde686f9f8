"""Verification of the secrets of access tokens, under the guard of `services.pipeline.guard`.

Contract access_tokens.md, sections 1, 8 and 9. Unknown names are counted and take as long as known ones.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast
from uuid import UUID

from domain.access_token import AccessToken
from domain.errors import (
    EntityNotFound,
    InvalidLifeCycleState,
    Refusal,
)
from domain.identifiers import Identifier
from domain.reference.records import Record
from domain.token_credentials import Credential
from services.context import ConsumerScope, ContextQuery
from services.ids import format_id, record_stream_id
from services.pipeline.guard import SecretGuard
from services.pipeline.method import Command
from services.pipeline.shown_secrets import (
    AUTHENTICATION_CODE,
    ONCE,
    GuessContext,
    Proof,
    secret_owner,
    short_code_material,
    wrong_credential,
)
from services.ports import EventStore, Hasher, Secret, SecretStore
from services.reference_cache import Match, ReferenceCache

if TYPE_CHECKING:
    from services.pipeline.request import Call

__all__ = ["Authenticator"]


class ProofStore(EventStore, SecretStore, Protocol):
    """The ports that credentials are checked against."""


class Authenticator:
    """Finds the entities of credentials, and checks codes."""

    def __init__(self, store: ProofStore, hasher: Hasher, guard: SecretGuard) -> None:
        self._store = store
        self._hasher = hasher
        self._guard = guard

    async def verify(
        self, caller: GuessContext, credential: Credential, matches: Sequence[Match]
    ) -> Proof:
        """Return the proof of the entity that a credential identifies.

        :param matches: the token that its name means, if it names one.
        Raises `EntityNotFound` for an unknown name, a wrong pass code and a token that is not
        related to such an entity, `InvalidOneTimePassword`, and `InvalidLifeCycleState` for a token
        that may not identify anything else because it is not effective.
        """
        id_ = matches[0].id if matches else None
        secret: Secret | None = None
        if credential.name is None:
            secret = await self._verify_one_time_password(caller, credential)
            id_ = secret.owner.partition("/")[2]
        elif credential.secret:
            secret = await self._verify_secret(caller, credential, id_)
        else:
            await self._verify_authentication_code(caller, credential, fits=id_ is not None)
        if id_ is None:
            raise EntityNotFound(credential.path)
        secrets = {credential.secret: secret.key_id} if secret else {}
        if credential.entity == AccessToken.TOPIC:
            return Proof(credential, UUID(id_), id_, secrets)
        entity_id = await self._find_related(caller.directory, credential, UUID(id_))
        return Proof(credential, UUID(id_), entity_id, secrets)

    async def check_code(
        self, caller: GuessContext, token: AccessToken, name: str, code: str, wrong: Refusal
    ) -> None:
        """Check a short code of a token that is known already. Raises ``wrong``."""
        owner = secret_owner(format_id(token.id))
        secret = await self._store.secret(caller.directory.organisation, owner, name)
        fits = (
            secret is not None
            and secret.key_id == token.secrets.get(name)
            and self._matches(secret, owner, name, code)
        )
        await self._guard.judge(caller.guesser, f"{owner}/{name}", wrong, fits=fits)

    async def matches_current(
        self, caller: GuessContext, token: AccessToken, name: str, secret: str
    ) -> bool:
        """Return True if a token has that secret already; this counts as a guess, and is False too soon."""
        owner = secret_owner(format_id(token.id))
        stored = await self._store.secret(caller.directory.organisation, owner, name)
        if stored is None or stored.key_id != token.secrets.get(name):
            return False
        try:
            await self._guard.verify(
                caller.guesser, f"{owner}/{name}", stored.verifier, secret, EntityNotFound(name)
            )
        except EntityNotFound:
            return False
        return True

    async def check_command(self, call: Call, token: AccessToken) -> frozenset[str]:
        """Check the code that a command wants shown; return the given secrets that are stored already.

        Each is checked once, however often the command is decided. A token that has no such code
        wants none.
        """
        method, verified = cast(Command, call.method), call.verified
        if method.required_code is not None:
            name, wrong = method.required_code
            key_id = token.secrets.get(name)
            if key_id is not None and key_id not in verified.codes:
                code = call.params[name]
                await self.check_code(call.guess_context, token, name, code, wrong(name))
                verified.codes.add(key_id)
        matching = set()
        for name in method.compared_secrets:
            secret, key_id = call.params.get(name), token.secrets.get(name)
            if key_id is None:
                continue
            if secret is not None and key_id not in verified.compared:
                matches = await self.matches_current(call.guess_context, token, name, secret)
                verified.compared[key_id] = matches
            if verified.compared.get(key_id):
                matching.add(name)
        return frozenset(matching)

    async def customer(
        self, caller: GuessContext, proof: Proof
    ) -> tuple[ConsumerScope, dict[str, int]] | None:
        """Return the customer whom a token authenticates, and the session epochs of what leads to them.

        None unless the token is effective, has an owner and still has what was shown.
        """
        loaded = await self._store.load(caller.directory.organisation, [proof.token])
        token = cast(AccessToken, loaded.aggregates[proof.token])
        try:
            proof.check(token)
        except Refusal:
            return None
        way = await self._way_to_account(caller.directory, token)
        owner = way[-1].fields.get("account_owner") if way else None
        if owner is None or token.state != AccessToken.EFFECTIVE:
            return None
        epochs = {f"{record.kind}/{record.record_id}": record.session_epoch for record in way}
        epochs[f"{token.TOPIC}/{format_id(token.id)}"] = token.session_epoch
        return ConsumerScope(owner, way[-1].record_id), epochs

    async def _way_to_account(self, directory: ReferenceCache, token: AccessToken) -> list[Record]:
        """Return the account of a token, after the participant through which it has it; empty if one is retired."""
        way: list[Record] = []
        account = token.relations.get("accounts_receivable")
        if account is None:
            participant = await self._load_record(
                directory, "rewards_participant", token.relations.get("rewards_participant")
            )
            if participant is None:
                return []
            way, account = [participant], participant.fields.get("accounts_receivable")
        record = await self._load_record(directory, "accounts_receivable", account)
        return [*way, record] if record else []

    async def _verify_one_time_password(
        self, caller: GuessContext, credential: Credential
    ) -> Secret:
        """Return the one-time password that is shown alone; it determines its owner."""
        wrong = wrong_credential(credential)
        organisation = caller.directory.organisation
        code = short_code_material("", ONCE, credential.one_time_password or "")
        secret = await self._store.secret_by_verifier(organisation, ONCE, self._hasher.macs(code))
        fits = (
            secret is not None
            and not secret.expired
            and await self._is_visible(caller, secret.owner)
        )
        # Whoever shows nothing else names no token: tries of one source count together, and none is
        # forgiven for a right one, which may be anybody's.
        await self._guard.judge(caller.guesser, None, wrong, fits=fits, shared=ONCE)
        assert secret is not None
        return secret

    async def _verify_authentication_code(
        self, caller: GuessContext, credential: Credential, *, fits: bool
    ) -> None:
        """Count an authentication code, which callers choose. Raises `EntityNotFound` for an unknown one."""
        # It names its token only if it is right. Were a source that has shown it before let through
        # while it waits, the one code that is not refused would be known there.
        wrong = EntityNotFound(credential.path)
        await self._guard.judge(caller.guesser, None, wrong, fits=fits, shared=AUTHENTICATION_CODE)

    async def _is_visible(self, caller: GuessContext, owner: str) -> bool:
        if caller.customer is None:
            return True
        entity, _, id_ = owner.partition("/")
        identifiers = (Identifier(entity, "id", id_, ""),)
        query = ContextQuery(identifiers=identifiers, customer=caller.customer)
        context = await self._store.load_context(caller.directory.organisation, query)
        return bool(context.matches[0])

    async def _verify_secret(
        self, caller: GuessContext, credential: Credential, id_: str | None
    ) -> Secret:
        """Return the stored secret of a named token that the shown one fits."""
        name, wrong, identifier = credential.secret, wrong_credential(credential), credential.name
        assert identifier is not None
        if identifier.field == AUTHENTICATION_CODE:
            # It is tried as well: what is said of the other secret tells that there is this one.
            await self._verify_authentication_code(caller, credential, fits=id_ is not None)
        owner = (
            secret_owner(id_)
            if id_
            else self._guard.unknown(f"{identifier.field}={identifier.value}")
        )
        # An unknown owner has no secret; looking it up keeps the time the same.
        stored = await self._store.secret(caller.directory.organisation, owner, name)
        shown = getattr(credential, name)
        if name != ONCE:
            verifier = stored.verifier if stored else None
            await self._guard.verify(caller.guesser, f"{owner}/{name}", verifier, shown, wrong)
        else:
            fits = (
                stored is not None
                and not stored.expired
                and self._matches(stored, owner, name, shown)
            )
            await self._guard.judge(caller.guesser, f"{owner}/{name}", wrong, fits=fits)
        assert stored is not None
        return stored

    async def _find_related(
        self, directory: ReferenceCache, credential: Credential, id_: UUID
    ) -> str:
        """Return the id of the entity of that kind to which a token is related."""
        loaded = await self._store.load(directory.organisation, [id_])
        token = cast(AccessToken, loaded.aggregates[id_])
        if token.state != AccessToken.EFFECTIVE:
            raise InvalidLifeCycleState(credential.path)
        if credential.entity == "accounts_receivable":
            way = await self._way_to_account(directory, token)
            record = way[-1] if way else None
        else:
            related = token.relations.get(credential.entity)
            record = await self._load_record(directory, credential.entity, related)
        if record is None:
            raise EntityNotFound(credential.path)
        return record.record_id

    async def _load_record(
        self, directory: ReferenceCache, kind: str, id_: str | None
    ) -> Record | None:
        """Return a registered record that is not retired."""
        if id_ is None:
            return None
        stream = record_stream_id(directory.organisation, kind, id_)
        record = (await self._store.load(directory.organisation, [stream])).aggregates.get(stream)
        return record if isinstance(record, Record) and not record.is_retired else None

    def _matches(self, stored: Secret, owner: str, name: str, code: str) -> bool:
        macs = self._hasher.macs(short_code_material(owner, name, code))
        return sum(hmac.compare_digest(stored.verifier, mac) for mac in macs) > 0
