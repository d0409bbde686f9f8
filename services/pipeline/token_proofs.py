"""Checking what callers show of access tokens, within the limits on guesses.

Contract access_tokens.md, sections 1, 8 and 9. Every try is counted in a statement of its own
before it is made, so that parallel tries cannot pass the limit. A try that comes too often gets the
answer of a wrong one, with the seconds to wait in ``retry_after``. Names that nobody has are
counted and take as long as those that somebody has.
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
from services.pipeline.method import Command
from services.pipeline.shown_secrets import (
    ONCE,
    GuessContext,
    Proof,
    secret_owner,
    short_code_material,
    wrong_credential,
)
from services.ports import CredentialStore, EventStore, Hasher, Secret
from services.reference_cache import Match, ReferenceCache

if TYPE_CHECKING:
    from services.pipeline.request import Call

__all__ = ["Authenticator"]

NOBODY = "nobody"


class ProofStore(EventStore, CredentialStore, Protocol):
    """What credentials are checked against."""


class Authenticator:
    """Finds the entities of credentials, and checks codes."""

    def __init__(self, ledger: ProofStore, hasher: Hasher) -> None:
        self._ledger = ledger
        self._hasher = hasher

    async def verify(
        self, caller: GuessContext, credential: Credential, matches: Sequence[Match]
    ) -> Proof:
        """The entity that a credential identifies.

        :param matches: the token that its name means, if it names one.
        Raises `EntityNotFound` for an unknown name, a wrong pass code and a token that is not
        related to such an entity, `InvalidOneTimePassword`, and `InvalidLifeCycleState` for a token
        that may not identify anything else because it is not effective.
        """
        id_ = matches[0].id if matches else None
        secret: Secret | None = None
        if credential.name is None:
            secret = await self._once(caller, credential)
            id_ = secret.owner.partition("/")[2]
        elif credential.secret:
            secret = await self._fitting(caller, credential, id_)
        if id_ is None:
            raise EntityNotFound(credential.at)
        secrets = {credential.secret: secret.key_id} if secret else {}
        if credential.entity == AccessToken.TOPIC:
            return Proof(credential, UUID(id_), id_, secrets)
        entity_id = await self._related(caller.directory, credential, UUID(id_))
        return Proof(credential, UUID(id_), entity_id, secrets)

    async def check_code(
        self, caller: GuessContext, token: AccessToken, name: str, code: str, wrong: Refusal
    ) -> None:
        """Checks a short code of a token that is known already. Raises ``wrong``."""
        owner = secret_owner(format_id(token.id))
        await self._count(caller, owner, name, wrong)
        kept = await self._ledger.secret(caller.directory.organisation, owner, name)
        key_id = token.secrets.get(name)
        if kept is None or kept.key_id != key_id or not self._fits(kept, owner, name, code):
            raise wrong
        await self._forgive(caller, owner, name)

    async def matches_current(
        self, caller: GuessContext, token: AccessToken, name: str, given: str
    ) -> bool:
        """Whether a token has that secret already: a guess, too, which is not made too often."""
        owner = secret_owner(format_id(token.id))
        if await self._wait(caller, owner, name):
            return False
        kept = await self._ledger.secret(caller.directory.organisation, owner, name)
        if kept is None or kept.key_id != token.secrets.get(name):
            return False
        fits = await self._hasher.verify(kept.verifier, given)
        if fits:
            await self._forgive(caller, owner, name)
        return fits

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

    async def customer(self, caller: GuessContext, proof: Proof) -> ConsumerScope | None:
        """Whom a token authenticates: nobody unless it is effective and leads to an owner."""
        loaded = await self._ledger.load(caller.directory.organisation, [proof.token])
        token = cast(AccessToken, loaded.aggregates[proof.token])
        account = await self._account(caller.directory, token)
        owner = account.fields.get("account_owner") if account else None
        if account is None or owner is None or token.state != AccessToken.EFFECTIVE:
            return None
        return ConsumerScope(owner, account.record_id)

    async def _account(self, directory: ReferenceCache, token: AccessToken) -> Record | None:
        """The accounts receivable of a token, its own or its participant's; None if retired."""
        account = token.relations.get("accounts_receivable")
        if account is None:
            participant = await self._record(
                directory, "rewards_participant", token.relations.get("rewards_participant")
            )
            account = participant.fields.get("accounts_receivable") if participant else None
        return await self._record(directory, "accounts_receivable", account)

    async def _once(self, caller: GuessContext, credential: Credential) -> Secret:
        """The one-time password that is shown alone: it says by itself whose it is."""
        wrong = wrong_credential(credential)
        organisation = caller.directory.organisation
        # All who show nothing else are counted together: there is no token to count them by.
        await self._count(caller, ONCE, ONCE, wrong)
        code = short_code_material("", ONCE, credential.one_time_password or "")
        found = await self._ledger.secret_by_verifier(organisation, ONCE, self._hasher.mac(code))
        if found is None or found.expired or not await self._is_visible(caller, found.owner):
            raise wrong
        await self._forgive(caller, ONCE, ONCE)
        return found

    async def _is_visible(self, caller: GuessContext, owner: str) -> bool:
        if caller.customer is None:
            return True
        entity, _, id_ = owner.partition("/")
        named = (Identifier(entity, "id", id_, ""),)
        question = ContextQuery(identifiers=named, customer=caller.customer)
        told = await self._ledger.load_context(caller.directory.organisation, question)
        return bool(told.matches[0])

    async def _fitting(
        self, caller: GuessContext, credential: Credential, id_: str | None
    ) -> Secret:
        """The secret of a named token that the one shown fits."""
        name, wrong, named = credential.secret, wrong_credential(credential), credential.name
        assert named is not None
        owner = (
            secret_owner(id_)
            if id_
            else f"{NOBODY}/{self._hasher.mac(f'{named.field}={named.value}')}"
        )
        await self._count(caller, owner, name, wrong)
        # Nobody has no secret; that it is asked for keeps the time the same.
        kept = await self._ledger.secret(caller.directory.organisation, owner, name)
        shown = getattr(credential, name)
        if name == ONCE:
            fits = kept is not None and not kept.expired and self._fits(kept, owner, name, shown)
        else:
            fits = await self._hasher.verify(kept.verifier if kept else None, shown)
        if kept is None or not fits:
            if name == ONCE and named.field == "authentication_code" and id_ is None:
                raise EntityNotFound(credential.at)
            raise wrong
        await self._forgive(caller, owner, name)
        return kept

    async def _related(self, directory: ReferenceCache, credential: Credential, id_: UUID) -> str:
        """The entity of that kind to which a token is related."""
        loaded = await self._ledger.load(directory.organisation, [id_])
        token = cast(AccessToken, loaded.aggregates[id_])
        if token.state != AccessToken.EFFECTIVE:
            raise InvalidLifeCycleState(credential.at)
        if credential.entity == "accounts_receivable":
            related = await self._account(directory, token)
        else:
            of = token.relations.get(credential.entity)
            related = await self._record(directory, credential.entity, of)
        if related is None:
            raise EntityNotFound(credential.at)
        return related.record_id

    async def _record(self, directory: ReferenceCache, kind: str, id_: str | None) -> Record | None:
        """A registered record that is not retired."""
        if id_ is None:
            return None
        stream = record_stream_id(directory.organisation, kind, id_)
        found = (await self._ledger.load(directory.organisation, [stream])).aggregates.get(stream)
        return found if isinstance(found, Record) and not found.is_retired else None

    def _fits(self, kept: Secret, owner: str, name: str, code: str) -> bool:
        return hmac.compare_digest(
            kept.verifier, self._hasher.mac(short_code_material(owner, name, code))
        )

    async def _count(self, caller: GuessContext, owner: str, name: str, wrong: Refusal) -> None:
        """Counts a try that is about to be made. Raises ``wrong`` if it comes too soon."""
        wait = await self._wait(caller, owner, name)
        if wait:
            wrong.retry_after = wait
            raise wrong

    async def _wait(self, caller: GuessContext, owner: str, name: str) -> int:
        """Counts a try that is about to be made; the seconds to wait if it comes too soon."""
        return await self._ledger.count_guess(
            caller.directory.organisation, f"{owner}/{name}", self._source(caller), caller.limits
        )

    async def _forgive(self, caller: GuessContext, owner: str, name: str) -> None:
        await self._ledger.reset_guesses(
            caller.directory.organisation, f"{owner}/{name}", self._source(caller)
        )

    def _source(self, caller: GuessContext) -> str:
        """Where tries come from, as a keyed hash: it holds a network address."""
        return self._hasher.mac(f"source/{caller.source}")
