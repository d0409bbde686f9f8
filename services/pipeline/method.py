"""The registry of methods: each endpoint is one short function and one decorator.

A command is a plain function from what was loaded and given to changes of aggregates; a query
says which documents it wants. Neither sees HTTP, SQL or a transaction. Path, parameters, shape of
the answer and documentation are read from what the decorator and the function already say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from domain.aggregate import Aggregate
from domain.errors import Refusal
from domain.fields import Field, JsonObject, Parameters, ResponseShape

if TYPE_CHECKING:
    from services.context import QueryResult, ViewQuery
    from services.pipeline.request import Call

__all__ = ["BASE", "METHODS", "Method", "command", "create", "login_method", "query"]

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Iterable[Aggregate] | None])
QueryFunction = Callable[["Call"], "ViewQuery | QueryResult | tuple[str, bytes]"]
Function = TypeVar("Function", bound=Callable[..., Any])
LoginFunction = Callable[..., Awaitable[Any]]

BASE = "/crmapi/rest/v2/"
"""Below which the paths of all methods stand."""

METHODS: dict[str, Method] = {}
"""Every method by its path below the base path, in the order of common.md, section 15."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method of the API.

    ``kind`` says which way a call takes: ``query``, ``command`` on one loaded aggregate, ``create``,
    or ``open`` (no session needed). ``identified_by`` are the parameters of which one identifies the loaded
    aggregate; where there are none a command works on the session itself. ``answer_with`` names the
    document of the projection that is answered; keys of ``response`` that it lacks are said by the
    function. ``sequences`` are the sequences that a call may draw from, one number for each time
    that one is named.

    ``related`` are the ids of further aggregates that the function looks at, or may change. It is
    asked again with what was loaded until it names nothing new. What was looked at must still be
    so when the events are written, else the call is decided anew.

    ``prefetch_from`` is where a query finds the one document that its identifier names: where that is an id,
    the document is asked for together with all else.

    ``open_to_consumers`` opens the method to consumer sessions (common.md, section 11). ``required_code`` names a
    parameter that must fit a secret of the loaded aggregate, and what a wrong one is refused with;
    ``compared_secrets`` parameters that may be the secrets that it has already.
    ``aliases`` are other names of keys of the answer that ``fields_set`` may use.
    """

    number: int
    verb: str
    path: str
    kind: str
    parameters: Parameters
    function: Callable[..., Any]
    response: ResponseShape | None = None
    is_list: bool = False
    identified_by: tuple[Field, ...] = ()
    aggregate: type[Aggregate] | None = None
    answer_with: str = "full"
    prefetch_from: str | None = None
    sequences: tuple[str, ...] = ()
    related: Callable[[Call], Iterable[UUID]] = lambda _: ()
    multipart: bool = False
    fields_set: bool = True
    open_to_consumers: bool = False
    required_code: tuple[str, type[Refusal]] | None = None
    compared_secrets: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def targets_session(self) -> bool:
        """Whether it works on the session itself."""
        return self.kind == "command" and not self.identified_by

    @cached_property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.kind in ("command", "create")

    def target(self, given: JsonObject) -> Any:
        """What names the aggregate of a command among given values; None if nothing does."""
        return next((given[row.name] for row in self.identified_by if given.get(row.name)), None)

    @property
    def summary(self) -> str:
        """What it does, in one line."""
        return (self.function.__doc__ or "").strip().partition("\n")[0]


def _register(method: Method) -> None:
    if method.path in METHODS or any(m.number == method.number for m in METHODS.values()):
        raise TypeError(f"method {method.number} {method.path} is registered twice")
    METHODS[method.path] = method


def _declaring(**method: Any) -> Callable[[Function], Function]:
    def declare(function: Function) -> Function:
        _register(Method(function=function, **method))
        return function

    return declare


def query(
    number: int, path: str, parameters: Parameters, response: ResponseShape, **more: Any
) -> Callable[[QueryFunction], QueryFunction]:
    """A method that reads: the function returns a `ViewQuery`, or the documents themselves.

    It may also return ``kind/id`` of one compact object with what is shown where there is none. It
    is a GET unless said otherwise.
    """
    said = {"number": number, "path": path, "parameters": parameters, "response": response}
    return _declaring(**{"verb": "GET", "kind": "query"} | said | more)


def create(
    number: int, path: str, parameters: Parameters, response: ResponseShape, **more: Any
) -> Callable[[CommandFunction], CommandFunction]:
    """A POST method that makes aggregates: the function returns them, the answered one first."""
    said = {"number": number, "path": path, "parameters": parameters, "response": response}
    return _declaring(verb="POST", kind="create", **said, **more)


def command(
    number: int, path: str, parameters: Parameters, response: ResponseShape | None, **more: Any
) -> Callable[[CommandFunction], CommandFunction]:
    """A POST method on one aggregate: the function changes it and returns new ones, if any."""
    said = {"number": number, "path": path, "parameters": parameters, "response": response}
    return _declaring(verb="POST", kind="command", **said, **more)


def login_method(
    number: int, path: str, parameters: Parameters, response: ResponseShape
) -> Callable[[LoginFunction], LoginFunction]:
    """A POST method that needs no session: a coroutine that returns the answer's values."""
    said = {"number": number, "path": path, "parameters": parameters, "response": response}
    return _declaring(verb="POST", kind="open", fields_set=False, **said)
