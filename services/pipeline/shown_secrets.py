"""The secrets of access tokens that a caller shows, and the proofs of those that fit.

Contract access_tokens.md, sections 1 and 8. The credentials of a call are verified once; when it is
decided, which may be later and more than once, they must still hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast
from uuid import UUID

from domain.access_token import AccessToken
from domain.aggregate import Aggregate, Attribution
from domain.errors import EntityNotFound, InvalidLifeCycleState, InvalidOneTimePassword, Refusal
from domain.identifiers import normalised
from domain.token_credentials import Credential
from services.context import ConsumerScope
from services.ids import format_id
from services.pipeline.guard import Guesser, guess_limits, never_gone
from services.reference_cache import ReferenceCache

__all__ = [
    "AUTHENTICATION_CODE",
    "GUESSED",
    "ONCE",
    "GuessContext",
    "Proof",
    "VerifiedSecrets",
    "secret_owner",
    "short_code_material",
    "wrong_credential",
]

ONCE = "one_time_password"
AUTHENTICATION_CODE = "authentication_code"
GUESSED = ("pass_code", "verification_code", ONCE)
"""The secrets whose tries are counted for each token."""


def secret_owner(token_id: str) -> str:
    """Return the owner of an access token's secrets, as ``kind/id``."""
    return f"access_token/{token_id}"


def short_code_material(owner: str, name: str, code: str) -> str:
    """Return the text to hash of a short code: bound to its owner, unless it is a one-time password."""
    return f"{name}/{code}" if name == ONCE else f"{owner}/{name}/{code}"


@dataclass(frozen=True, slots=True)
class GuessContext:
    """The caller that shows a credential: the organisation's set-up, the source by which tries are
    counted, and the customer whose data it may see, if only one's."""

    directory: ReferenceCache
    source: str
    customer: ConsumerScope | None = None
    is_gone: Callable[[], bool] = never_gone

    @property
    def guesser(self) -> Guesser:
        """The caller as the guard counts its tries."""
        return Guesser(
            self.directory.organisation,
            guess_limits(self.directory.settings),
            self.source,
            self.is_gone,
        )


@dataclass(frozen=True, slots=True)
class Proof:
    """A verified credential: the entity that it identifies, and the token that does.

    ``secrets`` are the key ids of the verifiers that fitted; `check` is called with the token as it
    is when the call is decided.
    """

    credential: Credential
    token: UUID
    entity_id: str
    secrets: Mapping[str, str] = field(default_factory=dict)

    def check(self, token: AccessToken) -> None:
        """Refuse what was changed in the meantime, as if it had been shown now."""
        credential, codes = self.credential, token.codes
        for name, key_id in self.secrets.items():
            if token.secrets.get(name) != key_id:
                raise wrong_credential(credential)
        identifier = credential.name
        if (
            identifier is not None
            and normalised(identifier.field, codes.get(identifier.field) or "") != identifier.value
        ):
            raise EntityNotFound(credential.path)
        if credential.entity != AccessToken.TOPIC and token.state != AccessToken.EFFECTIVE:
            raise InvalidLifeCycleState(credential.path)

    def use(self, token: AccessToken, by: Attribution) -> None:
        """Use up the one-time password that was shown, if one was."""
        key_id = self.secrets.get(ONCE)
        if key_id is not None and ONCE in token.secrets:
            token.raise_event(AccessToken.OneTimePasswordUsed, by, one_time_password=key_id)


@dataclass(slots=True)
class VerifiedSecrets:
    """The secrets that one call has shown: each is verified once for all attempts.

    ``codes`` are the key ids of codes that fitted; ``compared`` holds, by the key id of a stored
    secret, whether the given one is the same.
    """

    proofs: dict[Credential, Proof] = field(default_factory=dict)
    codes: set[str] = field(default_factory=set)
    compared: dict[str, bool] = field(default_factory=dict)

    @property
    def tokens(self) -> list[UUID]:
        """The streams of the access tokens that were shown."""
        return [proof.token for proof in self.proofs.values()]

    def check(self, aggregates: Mapping[UUID, Aggregate]) -> None:
        """Refuse what was changed since it was shown."""
        for proof in self.proofs.values():
            proof.check(cast(AccessToken, aggregates[proof.token]))

    def use(self, aggregates: Mapping[UUID, Aggregate], by: Attribution) -> list[Aggregate]:
        """Use up what may be shown only once, and return the tokens that this has changed."""
        used: dict[UUID, Aggregate] = {}
        for proof in self.proofs.values():
            if proof.entity_id != format_id(proof.token):
                token = cast(AccessToken, aggregates[proof.token])
                proof.use(token, by)
                used[token.id] = token
        return list(used.values())


def wrong_credential(credential: Credential) -> Refusal:
    """Return the refusal of a credential that fits nothing."""
    refusal = InvalidOneTimePassword if credential.secret == ONCE else EntityNotFound
    return refusal(credential.path)
