"""One call between its checks and its answer, and the half of it that only reads.

The runner answers from the views as they are, an auditor's call from the views as they were: what
is named is found, and documents are read and cut, in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import structs

from domain.aggregate import Stamp
from domain.errors import EntityNotFound
from domain.fields import Reading, Values
from domain.identifiers import Identifier
from domain.token_credentials import Credential
from services.context import Found, Select, Session, Told
from services.pipeline.fields_set import cut, read_fields_set
from services.pipeline.identifiers import Named, Proving, resolved
from services.pipeline.instrumentation import Stage, unmeasured
from services.pipeline.method import Method
from services.pipeline.request import Call, Request
from services.pipeline.token_proofs import Caller, Proof
from services.ports import Views
from services.reference_expansion import Composer

__all__ = ["Run", "answered", "parameters", "resolve"]


@dataclass(slots=True)
class Run:
    """One call between its checks and its answer.

    ``read`` are the parameters as read, ``named`` the identifiers among them, ``asked`` those that
    ``told`` answers, ``given`` the parameters with references resolved, ``refs`` the entities outside
    the directory that they name, ``proofs`` what their credentials have shown. ``checked`` are the
    key ids of codes that were shown rightly, ``compared`` those of secrets that were given anew, and
    whether they are the same. ``names`` are the wanted keys of the answer.
    """

    method: Method
    request: Request
    organisation: str
    told: Told
    session: Session
    reading: Reading
    read: Values
    named: Sequence[Named] = ()
    asked: tuple[Identifier, ...] = ()
    given: Values = field(default_factory=dict)
    refs: tuple[str, ...] = ()
    proofs: dict[Credential, Proof] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)
    compared: dict[str, bool] = field(default_factory=dict)
    names: frozenset[str] | None = None
    request_hash: str = ""

    @property
    def key(self) -> str | None:
        """The idempotency key, for methods that write."""
        return self.request.idempotency_key if self.method.writes else None

    @property
    def caller(self) -> Caller:
        """Who shows credentials: tries are counted by user, customer and network address."""
        customer = self.session.customer
        account = customer.account if customer else ""
        source = f"{self.session.user}/{account}@{self.request.client}"
        return Caller(self.told.directory, source, customer)

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


def parameters(
    method: Method, request: Request, reading: Reading
) -> tuple[Values, frozenset[str] | None]:
    """The parameters of a call as read, and the wanted keys of its answer, or a refusal."""
    given = method.parameters.read({**request.raw, **request.files}, reading)
    names = read_fields_set(
        request.raw.get("fields_set"), textual=request.textual, aliases=method.aliases
    )
    return given, names


async def resolve(run: Run, prove: Proving) -> None:
    """Finds what the parameters of a call name. Raises as `services.resolve.resolved`."""
    matches = dict(zip(run.asked, run.told.matches, strict=True))
    directory, choosing = run.told.directory, run.method.writes
    run.given, run.refs = await resolved(
        run.read, run.named, matches, directory, prove, choosing=choosing
    )


async def answered(views: Views, run: Run, stage: Stage = unmeasured) -> bytes:
    """The answer of a method that reads, as JSON. Raises `EntityNotFound` if there is none."""
    wanted: Select | Found | tuple[str, bytes] = run.method.function(run.call({}))
    with stage("select"):
        page = await _selected(views, run, wanted)
    with stage("answer"):
        fill = run.composer(page.compacts).fill
        documents = [cut(fill(document), run.names) for document in page.documents]
    if run.method.many:
        return b"[" + b",".join(documents) + b"]"
    if not documents:
        raise EntityNotFound
    return documents[0]


async def _selected(views: Views, run: Run, wanted: Select | Found | tuple[str, bytes]) -> Found:
    """The documents that a method wants."""
    if isinstance(wanted, Found):
        return wanted
    if isinstance(wanted, Select):
        found = _told_already(run.told, wanted)
        if found is not None:
            return found
        customer, allowed = run.session.customer, run.request.staleness
        if allowed is not None:
            allowed.now = run.told.now
        # What is a customer's may be another one's by now: nothing old is shown across that wall.
        allowed = None if customer else allowed
        wanted = structs.replace(wanted, customer=customer, staleness=allowed)
        return await views.select(run.organisation, wanted)
    ref, otherwise = wanted
    return Found([await views.compact(run.organisation, ref) or otherwise])


def _told_already(told: Told, wanted: Select) -> Found | None:
    """The one document that is wanted by its id, if it came with all else."""
    known = told.documents
    if known is None or known.view != wanted.view:
        return None
    document = known.by_id.get(wanted.where["id"])
    return Found([document], known.compacts) if document else None
