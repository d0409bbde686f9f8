"""History for people: pages that a browser shows and prints, with scripts or without.

A browser sends no bearer. An auditor signs in with a form; the session's token is then kept in a
cookie that no script can read and no other site can send, and never stands in an address. Forms
are taken from our own pages only, by what browsers say of a form's origin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from aiohttp import web

from domain.errors import (
    AccessDenied,
    EntityNotFound,
    InvalidRequest,
    InvalidToken,
    Refusal,
    TokenExpired,
)
from domain.fields import Reading
from domain.reference_entities import ENTITIES
from domain.scalars import Integer
from infra.http.body import read_body
from infra.http.edge import Edge, Exchange, response
from infra.http.history_templates import ASSETS, HEADERS, asset, rendered, timeline
from infra.http.query import parse_query
from services.auditing import Admitted, Auditing
from services.authentication import Desk
from services.call import Request
from services.endpoint import METHODS
from services.historian import ENTITY, Historian
from services.run import Runner, utc_now

__all__ = ["PAGES", "HistoryPages"]

PAGES = "/history"
SIGN_IN, SIGN_OUT = f"{PAGES}/sign-in", f"{PAGES}/sign-out"
COOKIE = "crmledger_history"
HTML = "text/html; charset=utf-8"
FORM_LIMIT, SECONDS = 16 * 1024, 10.0
VERSION = Integer(name="version", least=1)
SIGNED_OUT = (InvalidToken, TokenExpired)
TITLES: Mapping[type[Refusal], tuple[int, str]] = {
    AccessDenied: (403, "Histories are open to auditors only"),
    EntityNotFound: (404, "There is no such entity"),
}
"""HTTP status and what is said for refusals; others are 400."""

Answering = Callable[[Admitted, Exchange], Awaitable[web.Response]]


class HistoryPages:
    """Handlers of the pages below `PAGES`."""

    def __init__(
        self, historian: Historian, auditing: Auditing, runner: Runner, desk: Desk
    ) -> None:
        self._historian = historian
        self._auditing = auditing
        self._runner = runner
        self._desk = desk

    def routes(self, edge: Edge) -> None:
        """Serves the pages and their two files."""
        edge.add("GET", PAGES, self._reading(self._find), "history")
        edge.add("GET", f"{PAGES}/*", self._reading(self._timeline), "history/entity")
        edge.add("GET", SIGN_IN, self._form, "history/sign-in")
        edge.add("POST", SIGN_IN, self._sign_in, "history/sign-in")
        edge.add("POST", SIGN_OUT, self._sign_out, "history/sign-out")
        for name in ASSETS:
            edge.add("GET", f"{PAGES}/{name}", self._asset, "history/asset")

    def _reading(self, answer: Answering) -> Callable[[Exchange], Awaitable[web.StreamResponse]]:
        """Serves a page to auditors; others are shown the way in, or what is wrong."""

        async def handle(exchange: Exchange) -> web.StreamResponse:
            try:
                token = exchange.request.cookies.get(COOKIE, "")
                admitted = await self._auditing.admit(token, _request(exchange, {}))
                return await answer(admitted, exchange)
            except SIGNED_OUT:
                here = exchange.path + (f"?{exchange.query}" if exchange.query else "")
                return _elsewhere(f"{SIGN_IN}?next={quote(here, safe='')}")
            except Refusal as error:
                exchange.outcome = error.code
                status, title = TITLES.get(type(error), (400, error.message))
                return self._page("message.html", status, message=title, description="")

        return handle

    async def _find(self, admitted: Admitted, exchange: Exchange) -> web.Response:
        """A form to name an entity in, or the way to the one that is named."""
        named = parse_query(exchange.query).get(ENTITY)
        if named:
            entity = await self._historian.entity(admitted.organisation, named[-1])
            return _elsewhere(f"{PAGES}/{quote(entity.ref)}")
        return self._page("find.html", reader=_name(admitted), kinds=sorted(ENTITIES))

    async def _timeline(self, admitted: Admitted, exchange: Exchange) -> web.Response:
        """The history of one entity, and how it was at the version that the query names."""
        entity = await self._historian.entity(admitted.organisation, unquote(exchange.rest))
        versions = parse_query(exchange.query).get(VERSION.name)
        version = versions and VERSION.read(versions[-1], VERSION.name, self._today())
        view = await self._historian.view(admitted, entity, version or None)
        directory = admitted.told.directory
        return self._page(
            "timeline.html",
            directory=directory,
            reader=_name(admitted),
            organisation=directory.settings.get("name"),
            now=admitted.told.now,
            **timeline(view),
        )

    async def _form(self, exchange: Exchange) -> web.StreamResponse:
        wanted = parse_query(exchange.query).get("next", [PAGES])[-1]
        return self._sign_in_page({"next": _own_path(wanted)})

    async def _sign_in(self, exchange: Exchange) -> web.StreamResponse:
        given = await _posted(exchange)
        try:
            token = await self._token(exchange, given)
        except AccessDenied as error:
            exchange.outcome = error.code
            return self._sign_in_page(given, "This user is no auditor.", status=403)
        except Refusal as error:
            exchange.outcome = error.code
            return self._sign_in_page(given, "The sign-in is not known.", status=401)
        answer = _elsewhere(_own_path(given.get("next", "")))
        answer.set_cookie(
            COOKIE, token, path=PAGES, httponly=True, samesite="Strict", secure=_secure(exchange)
        )
        return answer

    async def _token(self, exchange: Exchange, given: Mapping[str, str]) -> str:
        """The token of a new session. Raises `AccessDenied`, leaving none, where it is no auditor's."""
        raw = {name: given.get(name, "") for name in ("username", "password", "organisation")}
        method, request = METHODS["authentication/token"], _request(exchange, raw)
        read = method.parameters.read(raw, self._today())
        token = str((await method.function(request, read, self._desk))["token"])
        try:
            await self._auditing.admit(token, request)
        except AccessDenied:
            await self._release(exchange, token)
            raise
        return token

    async def _sign_out(self, exchange: Exchange) -> web.StreamResponse:
        await _posted(exchange)
        token = exchange.request.cookies.get(COOKIE, "")
        try:
            await self._release(exchange, token)
        except Refusal as error:
            # It was over before.
            exchange.outcome = error.code
        answer = _elsewhere(SIGN_IN)
        answer.del_cookie(COOKIE, path=PAGES)
        return answer

    async def _release(self, exchange: Exchange, token: str) -> None:
        method = METHODS["authentication/token/release"]
        await self._runner.run(method, _request(exchange, {"token": token}))

    async def _asset(self, exchange: Exchange) -> web.StreamResponse:
        name = exchange.path.rpartition("/")[2]
        return response(asset(name), mime_type=ASSETS[name], headers=HEADERS)

    def _today(self) -> Reading:
        zone = self._historian.zone
        return Reading(zone, utc_now().astimezone(zone).date(), textual=True)

    def _sign_in_page(
        self, given: Mapping[str, str], refused: str = "", status: int = 200
    ) -> web.Response:
        kept = {name: given.get(name, "") for name in ("organisation", "username", "next")}
        return self._page("sign_in.html", status, refused=refused, **kept)

    def _page(self, template: str, status: int = 200, **values: Any) -> web.Response:
        zone, directory = self._historian.zone, values.pop("directory", None)
        html = rendered(template, zone, directory, **{"reader": None} | values)
        return response(html, status=status, mime_type=HTML, headers=HEADERS)


def _name(admitted: Admitted) -> str:
    """Who is signed in."""
    user = admitted.told.directory.fields("user", admitted.session.user)
    return str(user.get("person_name") or user.get("username"))


def _request(exchange: Exchange, raw: dict[str, Any]) -> Request:
    return Request(
        raw,
        request_id=exchange.request_id,
        correlation_id=exchange.correlation_id,
        client=exchange.request.remote or "",
    )


def _elsewhere(path: str) -> web.Response:
    return response(b"", status=303, mime_type="text/plain", headers=HEADERS | {"Location": path})


def _own_path(wanted: str) -> str:
    """A path of our own pages to go on to; anything else leads to their beginning."""
    parts = urlsplit(wanted)
    ours = parts.path == PAGES or parts.path.startswith(f"{PAGES}/")
    foreign = parts.scheme or parts.netloc or "\\" in wanted or not wanted.isprintable()
    return PAGES if foreign or not ours else wanted


def _secure(exchange: Exchange) -> bool:
    """Whether the browser speaks TLS, to us or to a proxy before us."""
    proxied = exchange.request.headers.get("X-Forwarded-Proto", "")
    return exchange.request.secure or proxied.strip().lower() == "https"


async def _posted(exchange: Exchange) -> dict[str, str]:
    """The fields of a form. Raises `InvalidRequest` for what no form of ours has sent."""
    headers = exchange.request.headers
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    foreign = origin is not None and urlsplit(origin).netloc != headers.get("Host")
    if site not in (None, "same-origin", "none") or (site is None and foreign):
        raise InvalidRequest("the form is another site's")
    body = await read_body(exchange.request, FORM_LIMIT, SECONDS)
    return {name: values[-1] for name, values in parse_query(body.decode("latin-1")).items()}
