"""Pages that a browser shows to users with a role: the way in and out, and what frames them.

A browser sends no bearer. A user signs in with a form; the session's token is then kept in a
cookie that no script can read and no other site can send, and never stands in an address. Forms
are taken from our own pages only, by what browsers say of a form's origin.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import web

from domain.errors import (
    AccessDenied,
    EntityNotFound,
    InvalidRequest,
    InvalidToken,
    Refusal,
    TokenExpired,
)
from domain.fields import ReadContext
from infra.http.api.body import read_body
from infra.http.api.query_string import parse_query
from infra.http.browser.templates import HEADERS, asset, render
from infra.http.router import Exchange, Router, response
from services.audit.access import AuditAccess, AuthorizedReader
from services.authentication import LoginServices
from services.pipeline.dispatcher import Dispatcher, utc_now
from services.pipeline.method import METHODS
from services.pipeline.request import Request

__all__ = ["BrowserPages", "PageHandler", "PageSite", "redirect"]

HTML = "text/html; charset=utf-8"
FORM_LIMIT, SECONDS = 16 * 1024, 10.0
SIGNED_OUT = (InvalidToken, TokenExpired)

PageHandler = Callable[[AuthorizedReader, Exchange], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class PageSite:
    """Pages below one path that are open to one role.

    ``word`` names them and their folder, ``invitation`` stands beside the sign-in, ``denied`` is said to users
    without the role and ``wrong_role_message`` to those who try to sign in; ``home`` leads to the beginning.
    """

    path: str
    cookie: str
    role: str
    word: str
    invitation: str
    denied: str
    wrong_role_message: str
    home: str
    assets: Mapping[str, str]

    @property
    def sign_in(self) -> str:
        """The path of the sign-in."""
        return f"{self.path}/sign-in"

    @property
    def sign_out(self) -> str:
        """Where the form that signs out is sent."""
        return f"{self.path}/sign-out"


class BrowserPages:
    """The frame of a site's pages: admits its readers, shows others the way in or what is wrong."""

    def __init__(
        self, site: PageSite, auditing: AuditAccess, runner: Dispatcher, desk: LoginServices
    ) -> None:
        self._site = site
        self._auditing = auditing
        self._runner = runner
        self._desk = desk

    def routes(self, edge: Router) -> None:
        """Serves the sign-in and the site's files."""
        site = self._site
        edge.add("GET", site.sign_in, self._form, f"{site.word}/sign-in")
        edge.add("POST", site.sign_in, self._sign_in, f"{site.word}/sign-in")
        edge.add("POST", site.sign_out, self._sign_out, f"{site.word}/sign-out")
        for name in site.assets:
            edge.add("GET", f"{site.path}/{name}", self._asset, f"{site.word}/asset")

    def page_handler(
        self, answer: PageHandler
    ) -> Callable[[Exchange], Awaitable[web.StreamResponse]]:
        """Serves a page to users who have the role; others are shown the way in, or what is wrong."""

        async def handle(exchange: Exchange) -> web.StreamResponse:
            try:
                token = exchange.request.cookies.get(self._site.cookie, "")
                request = _request(exchange, {})
                return await answer(
                    await self._auditing.authorize(token, request, self._site.role), exchange
                )
            except SIGNED_OUT:
                here = exchange.path + (f"?{exchange.query}" if exchange.query else "")
                return redirect(f"{self._site.sign_in}?next={quote(here, safe='')}")
            except Refusal as error:
                exchange.outcome = error.code
                status, title = self._title(error)
                return self.page("message.html", status, message=title, description="")

        return handle

    def page(
        self,
        template: str,
        status: int = 200,
        *,
        admitted: AuthorizedReader | None = None,
        **values: Any,
    ) -> web.Response:
        """A page of the site; ``admitted`` is who reads it."""
        directory = admitted.context.directory if admitted else None
        reader = _name(admitted) if admitted else None
        shown = {"site": self._site, "reader": reader} | values
        html = render(template, self._desk.zone, directory, **shown)
        return response(html, status=status, mime_type=HTML, headers=HEADERS)

    def read_context(self) -> ReadContext:
        """How values in addresses and forms are read."""
        zone = self._desk.zone
        return ReadContext(zone, utc_now().astimezone(zone).date(), textual=True)

    def _title(self, error: Refusal) -> tuple[int, str]:
        """HTTP status and what is said for a refusal."""
        if isinstance(error, AccessDenied):
            return 403, self._site.denied
        if isinstance(error, EntityNotFound):
            return 404, "There is no such entity"
        return 400, error.message

    async def _form(self, exchange: Exchange) -> web.StreamResponse:
        wanted = parse_query(exchange.query).get("next", [self._site.path])[-1]
        return self._sign_in_page({"next": self._own_path(wanted)})

    async def _sign_in(self, exchange: Exchange) -> web.StreamResponse:
        given = await _posted(exchange)
        try:
            token = await self._token(exchange, given)
        except AccessDenied as error:
            exchange.outcome = error.code
            return self._sign_in_page(given, self._site.wrong_role_message, status=403)
        except Refusal as error:
            exchange.outcome = error.code
            return self._sign_in_page(given, "The sign-in is not known.", status=401)
        answer = redirect(self._own_path(given.get("next", "")))
        secure, path = _secure(exchange), self._site.path
        answer.set_cookie(
            self._site.cookie, token, path=path, httponly=True, samesite="Strict", secure=secure
        )
        return answer

    async def _token(self, exchange: Exchange, given: Mapping[str, str]) -> str:
        """The token of a new session. Raises `AccessDenied`, leaving none, without the role."""
        raw = {name: given.get(name, "") for name in ("username", "password", "organisation")}
        method, request = METHODS["authentication/token"], _request(exchange, raw)
        read = method.parameters.read(raw, self.read_context())
        token = str((await method.function(request, read, self._desk))["token"])
        try:
            await self._auditing.authorize(token, request, self._site.role)
        except AccessDenied:
            await self._release(exchange, token)
            raise
        return token

    async def _sign_out(self, exchange: Exchange) -> web.StreamResponse:
        await _posted(exchange)
        token = exchange.request.cookies.get(self._site.cookie, "")
        try:
            await self._release(exchange, token)
        except Refusal as error:
            # It was over before.
            exchange.outcome = error.code
        answer = redirect(self._site.sign_in)
        answer.del_cookie(self._site.cookie, path=self._site.path)
        return answer

    async def _release(self, exchange: Exchange, token: str) -> None:
        method = METHODS["authentication/token/release"]
        await self._runner.run(method, _request(exchange, {"token": token}))

    async def _asset(self, exchange: Exchange) -> web.StreamResponse:
        name = exchange.path.rpartition("/")[2]
        return response(
            asset(name, self._site.word), mime_type=self._site.assets[name], headers=HEADERS
        )

    def _sign_in_page(
        self, given: Mapping[str, str], refused: str = "", status: int = 200
    ) -> web.Response:
        kept: dict[str, Any] = {
            name: given.get(name, "") for name in ("organisation", "username", "next")
        }
        return self.page("sign_in.html", status, refused=refused, **kept)

    def _own_path(self, wanted: str) -> str:
        """A path of the site to go on to; anything else leads to its beginning."""
        parts, path = urlsplit(wanted), self._site.path
        ours = parts.path == path or parts.path.startswith(f"{path}/")
        foreign = parts.scheme or parts.netloc or "\\" in wanted or not wanted.isprintable()
        return path if foreign or not ours else wanted


def redirect(path: str) -> web.Response:
    """Leads the browser to another page of ours."""
    return response(b"", status=303, mime_type="text/plain", headers=HEADERS | {"Location": path})


def _name(admitted: AuthorizedReader) -> str:
    """Who is signed in."""
    user = admitted.context.directory.fields("user", admitted.session.user)
    return str(user.get("person_name") or user.get("username"))


def _request(exchange: Exchange, raw: dict[str, Any]) -> Request:
    return Request(
        raw,
        request_id=exchange.request_id,
        correlation_id=exchange.correlation_id,
        client=exchange.request.remote or "",
    )


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
