"""The catalogue of all errors of a call (contract common.md, section 12).

    ServiceError
    ├── Refusal           the caller's fault; HTTP 200 with the error's code in the envelope
    │   ├── Security      tokens, credentials, permissions
    │   ├── Core          parameters, identifiers, life cycles, uniqueness, races
    │   └── one branch per resource
    └── TransportError    another HTTP status: the request never became a call, or the service failed

Every class carries the contract's code and its HTTP status; its docstring is the text for people.
The catalogue refuses two classes of one NAME, so that a code always means one thing.
"""

from __future__ import annotations

from typing import ClassVar, Self

__all__ = ["CATALOGUE", "OUTCOME_UNKNOWN", "Refusal", "ServiceError", "TransportError"]

CATALOGUE: dict[str, type[ServiceError]] = {}
"""NAME of the contract's table -> class."""


class ServiceError(Exception):
    """Something went wrong."""

    module: ClassVar[str] = "CORE"
    code: ClassVar[str]
    status: ClassVar[int] = 200
    message: str

    def __init_subclass__(cls, *, name: str = "", module: str = "", status: int = 0) -> None:
        super().__init_subclass__()
        cls.module = module or cls.module
        cls.status = status or cls.status
        cls.message = (cls.__doc__ or "").strip().split("\n")[0].rstrip(".")
        if name:
            if name in CATALOGUE:
                raise TypeError(f"two errors are called {name}")
            cls.code = f"COM.CRM.EXCEPTION.{cls.module}.{name}EXCEPTION"
            CATALOGUE[name] = cls

    def __init__(self, description: str = "", *, retry_after: int | None = None) -> None:
        """:param description: detail: the name of the offending parameter if there is one.
        :param retry_after: seconds after which the same call may succeed.
        """
        super().__init__(description)
        self.description = description
        self.retry_after = retry_after


class Refusal(ServiceError):
    """The call was understood and refused."""

    def after(self, seconds: int) -> Self:
        """The same refusal of a try that came too soon: says how long to wait (access_tokens.md, 9)."""
        self.retry_after = seconds
        wait = f"too many tries: wait {seconds} seconds"
        self.description = f"{self.description}: {wait}" if self.description else wait
        return self


class Security(Refusal, module="SECURITY"):
    """The session or its credentials do not allow the call."""


class InvalidToken(Security, name="INVALIDTOKEN"):
    """The token is absent, malformed, unknown or released."""


class TokenExpired(Security, name="TOKENEXPIRED"):
    """The token has expired."""


class InvalidCredentials(Security, name="INVALIDCREDENTIALS"):
    """The credentials are not valid."""


class InvalidWebApiKey(Security, name="INVALIDWEBAPIKEY"):
    """The web API key is not valid."""


class InvalidUnit(Security, name="INVALIDUNIT"):
    """The unit is unknown or not allowed for the user."""


class AccessDenied(Security, name="ACCESSDENIED"):
    """The session may not call this method."""


class Core(Refusal, module="CORE"):
    """The parameters or the state of an entity do not allow the call."""


class MandatoryParameter(Core, name="MANDATORYPARAMETER"):
    """A mandatory parameter is missing."""


class SemiOptionalParameter(Core, name="SEMIOPTIONALPARAMETER"):
    """Exactly one or at least one parameter of a group is required."""

    def __init__(self, description: str, *, rule: str = "") -> None:
        """:param rule: what is required of the group that ``description`` names."""
        super().__init__(description)
        self.message = rule or self.message


class InvalidParameterType(Core, name="INVALIDPARAMETERTYPE"):
    """The value is not of the parameter's type."""


class InvalidParameterValue(Core, name="INVALIDPARAMETERVALUE"):
    """The value is not allowed for the parameter."""


class InvalidIdentifier(Core, name="INVALIDIDENTIFIER"):
    """The identifier is malformed or has a field that is not allowed."""


class EntityNotFound(Core, name="ENTITYNOTFOUND"):
    """Entity not found."""


class EntityNotUnique(Core, name="ENTITYNOTUNIQUE"):
    """The identifier matches several entities."""


class InvalidLifeCycleState(Core, name="INVALIDLIFECYCLESTATE"):
    """The life cycle state does not allow the operation."""


class DuplicateEntity(Core, name="DUPLICATEENTITY"):
    """Such an entity exists already."""


class ConcurrentUpdate(Core, name="CONCURRENTUPDATE"):
    """Another change was made at the same time; nothing was written."""


class InvalidProfilePhoto(Refusal, module="CONTACTINFORMATION", name="INVALIDPROFILEPHOTO"):
    """The file is empty, too large or not an accepted image."""


class AccessTokens(Refusal, module="ACCESSTOKENS"):
    """An access token does not allow the call."""


class InvalidVerificationCode(AccessTokens, name="INVALIDVERIFICATIONCODE"):
    """The verification code is not valid."""


class InvalidOneTimePassword(AccessTokens, name="INVALIDONETIMEPASSWORD"):
    """The one-time password is not valid."""


class ParticipantNotOwned(AccessTokens, name="PARTICIPANTNOTOWNED"):
    """The rewards participant is not owned by the accounts receivable."""


class MaximumAccessTokens(AccessTokens, name="MAXIMUMACCESSTOKENS"):
    """The maximum number of access tokens is reached."""


class ServiceRequests(Refusal, module="SERVICEREQUESTS"):
    """A service request does not allow the call."""


class NotAllowedForType(ServiceRequests, name="NOTALLOWEDFORTYPE"):
    """The value is not allowed for the service request type."""


class InvalidStatus(ServiceRequests, name="INVALIDSTATUS"):
    """The status belongs to another life cycle state."""


class PendingAcceptance(ServiceRequests, name="PENDINGACCEPTANCE"):
    """An earlier step still waits for acceptance."""


class AcceptanceNotRequired(ServiceRequests, name="ACCEPTANCENOTREQUIRED"):
    """No acceptance is required."""


class AlreadyAccepted(ServiceRequests, name="ALREADYACCEPTED"):
    """It has already been accepted."""


class InvalidAcceptingContact(ServiceRequests, name="INVALIDACCEPTINGCONTACT"):
    """The accepting contact is neither the caller nor related to the caller."""


class InvalidCaller(ServiceRequests, name="INVALIDCALLER"):
    """The caller is neither the account's owner nor related to the owner."""


class InvalidAssignment(ServiceRequests, name="INVALIDASSIGNMENT"):
    """The user does not belong to the unit."""


class InvalidProduct(ServiceRequests, name="INVALIDPRODUCT"):
    """The product's classification does not fit."""


class InvalidReference(ServiceRequests, name="INVALIDREFERENCE"):
    """The referred entity belongs to another account."""


class TransportError(ServiceError, module="CORE", status=500):
    """The request did not become a call, or the service failed."""


class InvalidRequest(TransportError, name="INVALIDREQUEST", status=400):
    """Invalid request."""


class KeyReused(InvalidRequest, status=422):
    """The idempotency key was used for another request."""


class IdempotencyKeyRevoked(KeyReused):
    """The idempotency key was revoked."""


class MethodNotFound(TransportError, name="METHODNOTFOUND", status=404):
    """There is no such method."""


class MethodNotAllowed(TransportError, name="METHODNOTALLOWED", status=405):
    """Method not allowed."""

    def __init__(self, allowed: str) -> None:
        """:param allowed: the verbs of the path, separated by commas."""
        super().__init__()
        self.allowed = allowed
        self.message = f"{self.message}; use {allowed}"


class RequestTooLarge(TransportError, name="REQUESTTOOLARGE", status=413):
    """The request is too large."""


class TooManyRequests(TransportError, name="TOOMANYREQUESTS", status=429):
    """Too many requests."""


class InternalError(TransportError, name="INTERNALERROR", status=500):
    """The service failed to answer."""


class ServiceUnavailable(TransportError, name="SERVICEUNAVAILABLE", status=503):
    """The service is not available at the moment."""


OUTCOME_UNKNOWN = "the outcome is not known; ask again with the same key"
"""Description of a `ServiceUnavailable` after which the call may have been written."""
