"""Sign-in and frame of the pages that a browser shows to users with a role.

A browser sends no bearer token. A user signs in with a form; the session's token is then stored in a
cookie that no script can read and no other site can send, and is never part of a URL. Forms
are accepted from the service's own pages only, by the headers in which browsers name their origin.
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
from services.clock import utc_now
from services.pipeline.dispatcher import Dispatcher
from services.pipeline.method import METHODS
from services.pipeline.request import Request

__all__ = ["BrowserPages", "PageHandler", "PageSite", "redirect"]

HTML = "text/html; charset=utf-8"
FORM_LIMIT, SECONDS = 16 * 1024, 10.0
SIGNED_OUT = (InvalidToken, TokenExpired)
WRONG_CREDENTIALS = "Wrong organisation, user name or password."

PageHandler = Callable[[AuthorizedReader, Exchange], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class PageSite:
    """Pages below one path for users with one role.

    ``word`` names them and their folder, ``invitation`` is shown above the sign-in form, ``home`` is the
    text of the link to the first page.
    """

    path: str
    cookie: str
    role: str
    word: str
    invitation: str
    home: str
    assets: Mapping[str, str]

    @property
    def denied(self) -> str:
        """The message to users without the role."""
        return f"You need the {self.role} role"

    @property
    def sign_in(self) -> str:
        """The path of the sign-in form."""
        return f"{self.path}/sign-in"

    @property
    def sign_out(self) -> str:
        """The path to which the sign-out form is sent."""
        return f"{self.path}/sign-out"

    def local_path(self, target: str) -> str:
        """The target of a redirect if it is a path of the site; else its first page."""
        # Nothing is parsed as a URL, so nothing can be parsed otherwise by a browser.
        local = target == self.path or target.startswith((f"{self.path}/", f"{self.path}?"))
        return target if local and "\\" not in target and target.isprintable() else self.path


class BrowserPages:
    """The frame of a site's pages: authorizes readers; redirects others to the sign-in, or shows an error."""

    def __init__(
        self, site: PageSite, auditing: AuditAccess, runner: Dispatcher, desk: LoginServices
    ) -> None:
        self._site = site
        self._auditing = auditing
        self._runner = runner
        self._desk = desk

    def routes(self, edge: Router) -> None:
        """Add the routes of the sign-in and of the site's files."""
        site = self._site
        edge.add("GET", site.sign_in, self._form, f"{site.word}/sign-in")
        edge.add("POST", site.sign_in, self._sign_in, f"{site.word}/sign-in")
        edge.add("POST", site.sign_out, self._sign_out, f"{site.word}/sign-out")
        for name in site.assets:
            edge.add("GET", f"{site.path}/{name}", self._asset, f"{site.word}/asset")

    def page_handler(
        self, page: PageHandler
    ) -> Callable[[Exchange], Awaitable[web.StreamResponse]]:
        """Return a handler that serves a page to users with the role, and redirects others to the sign-in."""

        async def handle(exchange: Exchange) -> web.StreamResponse:
            try:
                token = self._session_token(exchange)
                request = _request(exchange, {})
                return await page(
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
        reader: AuthorizedReader | None = None,
        **values: Any,
    ) -> web.Response:
        """A page of the site for ``reader``; None: nobody is signed in."""
        references = reader.context.directory if reader else None
        user = _user_name(reader) if reader else None
        variables = {"site": self._site, "user": user} | values
        html = render(template, self._desk.zone, references, **variables)
        return response(html, status=status, mime_type=HTML, headers=HEADERS)

    def read_context(self) -> ReadContext:
        """The context in which values of URLs and forms are parsed."""
        zone = self._desk.zone
        return ReadContext(zone, utc_now().astimezone(zone).date(), textual=True)

    def _title(self, error: Refusal) -> tuple[int, str]:
        """The HTTP status and the title of the page for a refusal."""
        if isinstance(error, AccessDenied):
            return 403, self._site.denied
        if isinstance(error, EntityNotFound):
            return 404, "Entity not found"
        return 400, error.message

    async def _form(self, exchange: Exchange) -> web.StreamResponse:
        target = parse_query(exchange.query).get("next", [self._site.path])[-1]
        return self._sign_in_page({"next": self._site.local_path(target)})

    async def _sign_in(self, exchange: Exchange) -> web.StreamResponse:
        form = await _read_form(exchange)
        try:
            token = await self._token(exchange, form)
        except AccessDenied as error:
            exchange.outcome = error.code
            return self._sign_in_page(form, f"{self._site.denied}.", status=403)
        except Refusal as error:
            exchange.outcome = error.code
            return self._refused_page(form, error)
        answer = redirect(self._site.local_path(form.get("next", "")))
        name, scope = self._cookie(exchange)
        answer.set_cookie(name, token, httponly=True, samesite="Strict", **scope)
        return answer

    async def _token(self, exchange: Exchange, form: Mapping[str, str]) -> str:
        """The token of a new session. Raises `AccessDenied`, leaving none, without the role."""
        raw = {name: form.get(name, "") for name in ("username", "password", "organisation")}
        method, request = METHODS["authentication/token"], _request(exchange, raw)
        params = method.parameters.read(raw, self.read_context())
        token = str((await method.function(request, params, self._desk))["token"])
        try:
            await self._auditing.authorize(token, request, self._site.role)
        except AccessDenied:
            await self._release(exchange, token)
            raise
        return token

    async def _sign_out(self, exchange: Exchange) -> web.StreamResponse:
        await _read_form(exchange)
        token = self._session_token(exchange)
        try:
            await self._release(exchange, token)
        except Refusal as error:
            # The session had ended before.
            exchange.outcome = error.code
        answer = redirect(self._site.sign_in)
        name, scope = self._cookie(exchange)
        answer.del_cookie(name, **scope)
        return answer

    def _cookie(self, exchange: Exchange) -> tuple[str, dict[str, Any]]:
        """The name of the session's cookie and where browsers send it.

        Over TLS the name's prefix makes them refuse one that another host, or a page without TLS, has set.
        """
        if exchange.caller.is_secure:
            return f"__Host-{self._site.cookie}", {"path": "/", "secure": True}
        return self._site.cookie, {"path": self._site.path, "secure": False}

    def _session_token(self, exchange: Exchange) -> str:
        return exchange.request.cookies.get(self._cookie(exchange)[0], "")

    async def _release(self, exchange: Exchange, token: str) -> None:
        method = METHODS["authentication/token/release"]
        await self._runner.run(method, _request(exchange, {"token": token}))

    async def _asset(self, exchange: Exchange) -> web.StreamResponse:
        name = exchange.path.rpartition("/")[2]
        return response(
            asset(name, self._site.word), mime_type=self._site.assets[name], headers=HEADERS
        )

    def _refused_page(self, form: Mapping[str, str], error: Refusal) -> web.Response:
        """The form again, which says how long to wait after too many tries."""
        seconds = error.retry_after
        if seconds is None:
            return self._sign_in_page(form, WRONG_CREDENTIALS, status=401)
        wait = f"{WRONG_CREDENTIALS} Too many tries: wait {seconds} seconds."
        page = self._sign_in_page(form, wait, status=error.status if error.status > 400 else 401)
        page.headers["Retry-After"] = str(seconds)
        return page

    def _sign_in_page(
        self, form: Mapping[str, str], error: str = "", status: int = 200
    ) -> web.Response:
        fields: dict[str, Any] = {
            name: form.get(name, "") for name in ("organisation", "username", "next")
        }
        return self.page("sign_in.html", status, error=error, **fields)


def redirect(path: str) -> web.Response:
    """Redirect the browser to another page of the service."""
    return response(b"", status=303, mime_type="text/plain", headers=HEADERS | {"Location": path})


def _user_name(reader: AuthorizedReader) -> str:
    """The name of the user who is signed in."""
    user = reader.context.directory.fields("user", reader.session.user)
    return str(user.get("person_name") or user.get("username"))


def _request(exchange: Exchange, raw: dict[str, Any]) -> Request:
    return Request(
        raw,
        request_id=exchange.request_id,
        correlation_id=exchange.correlation_id,
        client=exchange.caller.address,
        is_gone=exchange.is_gone,
    )


async def _read_form(exchange: Exchange) -> dict[str, str]:
    """The fields of a form. Raises `InvalidRequest` if another site has sent it."""
    headers = exchange.request.headers
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    foreign = origin is not None and urlsplit(origin).netloc != headers.get("Host")
    if site not in (None, "same-origin", "none") or (site is None and foreign):
        raise InvalidRequest("the form was sent by another site")
    body = await read_body(exchange.request, FORM_LIMIT, SECONDS)
    return {name: values[-1] for name, values in parse_query(body.decode("latin-1")).items()}
