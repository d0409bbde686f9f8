"""The registry of methods: each endpoint is one short function and one decorator.

A command is a plain function from what was loaded and given to changes of aggregates; a query
returns which documents it wants. Neither sees HTTP, SQL or a transaction. Path, parameters, shape
of the answer and documentation are read from the decorator and the function.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, TypeVar
from uuid import UUID

from domain.aggregate import Aggregate
from domain.errors import Refusal
from domain.fields import Field, JsonObject, Parameters, ResponseShape
from domain.identifiers import Identifier
from domain.token_credentials import Credential

if TYPE_CHECKING:
    from services.context import QueryResult, ViewQuery
    from services.pipeline.request import Call

__all__ = [
    "BASE",
    "METHODS",
    "Command",
    "Create",
    "Login",
    "Method",
    "Query",
    "WriteMethod",
    "command",
    "create",
    "login_method",
    "query",
]

Function = TypeVar("Function", bound=Callable[..., Any])
LoadTargets: TypeAlias = tuple[list[Identifier], list[Identifier]]
AnswerWith: TypeAlias = Literal["full", "compact", "photo", "nothing"]

BASE = "/crmapi/rest/v2/"
"""The path below which all methods stand."""

METHODS: dict[str, Method] = {}
"""Every method by its path below the base path, in the order of common.md, section 15."""


def _undecorated(*_: Any) -> Any:
    """Stand where the decorated function will be."""
    raise RuntimeError("the method decorates no function")


@dataclass(frozen=True)
class Method:
    """One method of the API, and the decorator that registers its function.

    ``open_to_consumers`` opens the method to consumer sessions (common.md, section 11). ``aliases``
    are other names of keys of the answer that ``fields_set`` may use. ``staff_only`` are the paths of
    fields that a consumer session may not give, each with the parameter to name.
    """

    needs_session: ClassVar[bool] = True
    writes: ClassVar[bool] = False

    number: int
    path: str
    parameters: Parameters
    response: ResponseShape | None
    _: KW_ONLY
    function: Callable[..., Any] = _undecorated
    verb: str = "POST"
    is_list: bool = False
    multipart: bool = False
    fields_set: bool = True
    open_to_consumers: bool = False
    staff_only: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, function: Function) -> Function:
        """Register the method with the decorated function, which is returned unchanged."""
        if self.path in METHODS or any(m.number == self.number for m in METHODS.values()):
            raise TypeError(f"method {self.number} {self.path} is registered twice")
        METHODS[self.path] = replace(self, function=function)
        return function

    @property
    def summary(self) -> str:
        """Return what it does, in one line."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]

    @property
    def targets_session(self) -> bool:
        """True if it changes the session itself."""
        return False


@dataclass(frozen=True)
class Login(Method):
    """A method that needs no session: the function is a coroutine that returns the answer's values."""

    needs_session: ClassVar[bool] = False

    response: ResponseShape
    _: KW_ONLY
    function: Callable[..., Awaitable[JsonObject]] = _undecorated
    fields_set: bool = False


@dataclass(frozen=True, kw_only=True)
class Query(Method):
    """A method that reads, a GET by default.

    The function returns a `ViewQuery`, or the documents themselves, or ``kind/id`` of one compact
    object with what is shown if there is none. ``prefetch_from`` is the view of the one document
    that the parameters identify: if they do by its id, it is loaded with the context of the call.
    """

    function: Callable[[Call], ViewQuery | QueryResult | tuple[str, bytes]] = _undecorated
    verb: str = "GET"
    prefetch_from: str | None = None


@dataclass(frozen=True, kw_only=True)
class WriteMethod(Method, ABC):
    """A method that changes aggregates.

    ``answer_with`` names the document of the projection that is the answer; the function adds keys
    of ``response`` that it lacks. ``sequences`` are the sequences that a call may draw from, each
    named once for each number.

    ``related`` returns the ids of further aggregates that the function looks at, or may change. It
    is called again with what was loaded until it returns nothing new. What was looked at must be
    unchanged when the events are written, else the call is decided anew.
    """

    writes: ClassVar[bool] = True

    answer_with: AnswerWith = "full"
    sequences: tuple[str, ...] = ()
    related: Callable[[Call], Iterable[UUID]] = lambda _: ()

    @abstractmethod
    def stream(self, session: str, params: JsonObject) -> UUID | None:
        """Return the stream of the aggregate that is changed; None for one that is yet to be made."""

    @abstractmethod
    def decide(self, aggregate: Aggregate | None, call: Call) -> list[Aggregate]:
        """Return the changed aggregates, the answered one first."""

    def load_targets(self, parsed: JsonObject) -> LoadTargets | None:
        """Return the identifiers of the aggregate and of the contact that it is about.

        None if a credential has to be checked before anything is loaded.
        """
        about = parsed.get("contact_information")
        return [], [about] if isinstance(about, Identifier) else []


@dataclass(frozen=True, kw_only=True)
class Create(WriteMethod):
    """A method that makes aggregates: the function returns them, the answered one first."""

    function: Callable[[Call], Iterable[Aggregate]] = _undecorated

    def stream(self, session: str, params: JsonObject) -> None:
        """Return None: there is no stream yet."""
        return

    def decide(self, aggregate: Aggregate | None, call: Call) -> list[Aggregate]:
        """Return the new aggregates."""
        return list(self.function(call))


@dataclass(frozen=True, kw_only=True)
class Command(WriteMethod):
    """A method on one aggregate: the function changes it and returns new ones, if any.

    ``identified_by`` are the parameters of which one identifies the aggregate; without them it is
    the session itself. ``required_code`` names a parameter that must fit a secret of the aggregate,
    and the refusal of a wrong one; ``compared_secrets`` are parameters that may equal the secrets
    that it has already.
    """

    function: Callable[[Any, Call], Iterable[Aggregate] | None] = _undecorated
    identified_by: tuple[Field, ...] = ()
    required_code: tuple[str, type[Refusal]] | None = None
    compared_secrets: tuple[str, ...] = ()

    @property
    def targets_session(self) -> bool:
        """True if the aggregate is the session itself."""
        return not self.identified_by

    def stream(self, session: str, params: JsonObject) -> UUID:
        """Return the stream of the aggregate that the parameters identify, or of the session."""
        return UUID(session if self.targets_session else self._target(params))

    def decide(self, aggregate: Aggregate | None, call: Call) -> list[Aggregate]:
        """Return the aggregate and the new ones that the function returns."""
        assert aggregate is not None
        return [aggregate, *(self.function(aggregate, call) or ())]

    def load_targets(self, parsed: JsonObject) -> LoadTargets | None:
        """Return the identifiers of the aggregate and of the contact, unless a credential is one."""
        target, targets = self._target(parsed), super().load_targets(parsed)
        if self.targets_session or isinstance(target, Credential) or targets is None:
            return None
        return [target] if target else [], targets[1]

    def _target(self, params: JsonObject) -> Any:
        """Return what identifies the aggregate; None if nothing does."""
        return next((params[row.name] for row in self.identified_by if params.get(row.name)), None)


# As decorators they are spelled like functions: ``@query(5, "communications/show", ...)``.
query, create, command, login_method = Query, Create, Command, Login
