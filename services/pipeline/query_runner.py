"""One call between its checks and its answer, and the half of it that only reads.

The runner answers from the views as they are, an auditor's call from the views as they were: what
is named is found, and documents are read and cut, in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from msgspec import structs

from domain.aggregate import Attribution
from domain.errors import EntityNotFound
from domain.fields import JsonObject, ReadContext
from domain.identifiers import Identifier
from domain.token_credentials import Credential
from services.context import CallContext, QueryResult, SessionRow, ViewQuery
from services.pipeline.fields_set import read_fields_set, select_keys
from services.pipeline.identifiers import CredentialProver, Named, resolve_identifiers
from services.pipeline.instrumentation import StageTimer, no_timer
from services.pipeline.method import Method
from services.pipeline.request import Call, Request
from services.pipeline.token_proofs import GuessContext, Proof
from services.ports import ReadModels
from services.reference_expansion import ReferenceExpander

__all__ = ["CallState", "read_parameters", "resolve", "run_query"]


@dataclass(slots=True)
class CallState:
    """One call between its checks and its answer.

    ``parsed`` are the parameters as read, ``named`` the identifiers among them, ``stored_identifiers`` those that
    ``told`` answers, ``resolved`` the parameters with references resolved, ``refs`` the entities outside
    the directory that they name, ``proofs`` what their credentials have shown. ``verified_codes`` are the
    key ids of codes that were shown rightly, ``compared_secrets`` those of secrets that were given anew, and
    whether they are the same. ``response_keys`` are the wanted keys of the answer. ``asked_at`` is a moment
    before ``told`` was first asked for, on the monotonic clock.
    """

    method: Method
    request: Request
    organisation: str
    told: CallContext
    session: SessionRow
    reading: ReadContext
    parsed: JsonObject
    named: Sequence[Named] = ()
    stored_identifiers: tuple[Identifier, ...] = ()
    resolved: JsonObject = field(default_factory=dict)
    refs: tuple[str, ...] = ()
    proofs: dict[Credential, Proof] = field(default_factory=dict)
    verified_codes: set[str] = field(default_factory=set)
    compared_secrets: dict[str, bool] = field(default_factory=dict)
    response_keys: frozenset[str] | None = None
    asked_at: float = 0.0
    request_hash: str = ""

    @property
    def key(self) -> str | None:
        """The idempotency key, for methods that write."""
        return self.request.idempotency_key if self.method.writes else None

    @property
    def caller(self) -> GuessContext:
        """Who shows credentials: tries are counted by user, customer and network address."""
        customer = self.session.customer
        account = customer.account if customer else ""
        source = f"{self.session.user}/{account}@{self.request.client}"
        return GuessContext(self.told.directory, source, customer)

    def composer(self, compacts: dict[str, bytes]) -> ReferenceExpander:
        """Fills documents for this caller."""
        directory = self.told.directory
        return ReferenceExpander(
            compacts, directory.compact, last_name_first=directory.last_name_first
        )

    def call(self, compacts: dict[str, bytes]) -> Call:
        """What the endpoint sees."""
        return Call(
            session=self.session,
            directory=self.told.directory,
            params=self.resolved,
            actor=Attribution(self.told.now, self.session.user, self.session.unit),
            reading=self.reading,
            composer=self.composer(compacts),
        )


def read_parameters(
    method: Method, request: Request, reading: ReadContext
) -> tuple[JsonObject, frozenset[str] | None]:
    """The parameters of a call as read, and the wanted keys of its answer, or a refusal."""
    given = method.parameters.read({**request.parameters, **request.files}, reading)
    names = read_fields_set(
        request.parameters.get("fields_set"),
        textual=request.from_query_or_form,
        aliases=method.aliases,
    )
    return given, names


async def resolve(run: CallState, prove: CredentialProver) -> None:
    """Finds what the parameters of a call name. Raises as `services.resolve.resolved`."""
    matches = dict(zip(run.stored_identifiers, run.told.matches, strict=True))
    directory, choosing = run.told.directory, run.method.writes
    run.resolved, run.refs = await resolve_identifiers(
        run.parsed, run.named, matches, directory, prove, current_only=choosing
    )


async def run_query(views: ReadModels, run: CallState, stage: StageTimer = no_timer) -> bytes:
    """The answer of a method that reads, as JSON. Raises `EntityNotFound` if there is none."""
    wanted: ViewQuery | QueryResult | tuple[str, bytes] = run.method.function(run.call({}))
    with stage("select"):
        page = await _selected(views, run, wanted)
    with stage("answer"):
        fill = run.composer(page.compacts).expand
        documents = [select_keys(fill(document), run.response_keys) for document in page.documents]
    if run.method.is_list:
        return b"[" + b",".join(documents) + b"]"
    if not documents:
        raise EntityNotFound
    return documents[0]


async def _selected(
    views: ReadModels, run: CallState, wanted: ViewQuery | QueryResult | tuple[str, bytes]
) -> QueryResult:
    """The documents that a method wants."""
    if isinstance(wanted, QueryResult):
        return wanted
    if isinstance(wanted, ViewQuery):
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
    return QueryResult([await views.compact(run.organisation, ref) or otherwise])


def _told_already(told: CallContext, wanted: ViewQuery) -> QueryResult | None:
    """The one document that is wanted by its id, if it came with all else."""
    known = told.documents
    if known is None or known.view != wanted.view:
        return None
    document = known.by_id.get(wanted.where["id"])
    return QueryResult([document], known.compacts) if document else None
