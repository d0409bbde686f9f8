"""The Web API: every registered method below its base path, and the image download."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from domain.errors import (
    AccessDenied,
    EntityNotFound,
    InvalidRequest,
    InvalidToken,
    Refusal,
    ServiceError,
    TokenExpired,
)
from domain.fields import ReadContext
from domain.parsing import is_blank
from infra.http.api.authorization import basic_user, bearer
from infra.http.api.body import SMALL_BODY, BodyBudget, is_multipart, parse_multipart, read_body
from infra.http.api.data_response import data_response
from infra.http.api.envelope import ok
from infra.http.api.json_body import parse_json_object
from infra.http.api.query_string import parse_query
from infra.http.images import clean_file_name
from infra.http.router import Exchange, Handler, Router, response
from services.authentication import LoginServices
from services.clock import utc_now
from services.pipeline.dispatcher import Dispatcher, check_open
from services.pipeline.idempotency import ReplayedAnswer
from services.pipeline.method import BASE, METHODS, Login, Method
from services.pipeline.request import Request, Upload
from services.ports import PhotoStore
from services.staleness import Staleness

__all__ = [
    "IMAGES",
    "MAX_STALENESS",
    "POSITION",
    "REPLAYED",
    "SECONDS_FORMAT",
    "STALENESS",
    "Api",
    "idempotency_key",
]

IMAGES = "/crm/ImageDownloadServlet"
JSON_LIMIT = 4 * 1024 * 1024
FORM_LIMIT = 10 * 1024 * 1024
BODY_TIMEOUT = 30.0
"""The longest time in seconds that a body may take to arrive."""

MAX_STALENESS = "X-Max-Staleness"
"""The header by which a caller allows a read to be stale, by at most this number of seconds."""

SECONDS_FORMAT = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
REPLAYED = "Idempotent-Replayed"
"""The header of an answer that was given before, to the same idempotency key."""

STALENESS, POSITION = "X-Staleness", "X-Position"
"""The headers of a response: its greatest age, and the position up to which it is complete."""

_PHOTO_ID = re.compile(r"[0-9A-F]{32}")
IMAGE_STATUS = {InvalidToken: 401, TokenExpired: 401, EntityNotFound: 404, AccessDenied: 404}
"""Images are fetched by browsers, which rely on the HTTP status (common.md, section 12)."""


class Api:
    """Handlers of the Web API."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        login_services: LoginServices,
        photos: PhotoStore,
        on_refusal: Callable[[object, str], None],
        bodies: BodyBudget,
    ) -> None:
        """:param on_refusal: is called with the token and the error code of each refused call.
        :param bodies: the memory for bodies on their way.
        """
        self._dispatcher = dispatcher
        self._login_services = login_services
        self._photos = photos
        self._on_refusal = on_refusal
        self._bodies = bodies

    def routes(self, router: Router) -> None:
        """Serve every method of the registry, and the image download."""
        for method in METHODS.values():
            router.add(method.verb, BASE + method.path, self._handler(method), method.path)
        router.add("GET", IMAGES, self._download_image, "ImageDownloadServlet")

    def _handler(self, method: Method) -> Handler:
        async def handle(exchange: Exchange) -> web.StreamResponse:
            with self._bodies.share() as take:
                request = await _read_request(method, exchange, self._admission(exchange, take))
            if isinstance(method, Login):
                return response(ok(await self._log_in(method, request)))
            try:
                answer = await self._dispatcher.run(method, request)
                headers = _staleness_headers(request.staleness)
                if isinstance(answer, ReplayedAnswer):
                    headers[REPLAYED] = "true"
                return await data_response(answer, headers)
            except ServiceError as error:
                self._on_refusal(request.parameters.get("token"), error.code)
                raise

        return handle

    def _admission(self, exchange: Exchange, take: Callable[[int], None]) -> Callable[[int], None]:
        """Return a check of a body by its length in bytes: a large one is read for a good token only.

        That is the one of the header, if there is one; whose it is in the body is known afterwards.
        """
        token = bearer(exchange.request)

        def admit(size: int) -> None:
            if token is not None and size > SMALL_BODY:
                self._dispatcher.check_signature(token)
            take(size)

        return admit

    async def _log_in(self, method: Login, request: Request) -> bytes:
        zone = self._login_services.zone
        params = method.parameters.read(
            request.parameters, ReadContext(zone, utc_now().astimezone(zone).date())
        )
        values = await method.function(request, params, self._login_services)
        return orjson.dumps(method.response.render(values, zone))

    async def _download_image(self, exchange: Exchange) -> web.StreamResponse:
        """Return a profile photo (contract contact_information.md, section 11)."""
        query = parse_query(exchange.query)
        try:
            token = query.get("token", [None])[-1]
            session = await self._dispatcher.session(
                bearer(exchange.request) if is_blank(token) else token
            )
            check_open(None, session.session, session.context)
            photo_id = query.get("id", [""])[-1].strip().upper()
            photo = None
            if _PHOTO_ID.fullmatch(photo_id):
                customer = session.session.customer
                photo = await self._photos.photo(session.organisation, photo_id, customer)
            if photo is None:
                raise EntityNotFound("id")
        except Refusal as error:
            exchange.status = IMAGE_STATUS.get(type(error), error.status)
            raise
        content, mime_type = photo
        return response(content, mime_type=mime_type)


async def _read_request(
    method: Method, exchange: Exchange, admit: Callable[[int], None]
) -> Request:
    """Return the request with its parameters.

    Raises `InvalidRequest`, `RequestTooLarge`, and what ``admit`` raises for the length of a body.
    """
    http = exchange.request
    parameters: dict[str, Any]
    files: dict[str, Upload] = {}
    if method.verb == "GET":
        parameters = dict(parse_query(exchange.query))
    else:
        content_type = http.headers.get("Content-Type", "")
        if is_multipart(content_type) is not method.multipart:
            raise InvalidRequest("Content-Type")
        limit = FORM_LIMIT if method.multipart else JSON_LIMIT
        body = await read_body(http, limit, BODY_TIMEOUT, admit)
        if method.multipart:
            form, uploads = await parse_multipart(content_type, body)
            parameters = dict(form)
            for name, upload in uploads.items():
                files[name] = Upload(clean_file_name(upload.file_name), upload.content)
        else:
            parameters = parse_json_object(body, allow_empty_array=True)
    if method.needs_session and is_blank(_last(parameters.get("token"))):
        parameters["token"] = bearer(http)
    key = http.headers.get("Idempotency-Key")
    return Request(
        parameters=parameters,
        from_query_or_form=method.verb == "GET" or method.multipart,
        files=files,
        web_api_key=basic_user(http),
        idempotency_key=None if key is None else idempotency_key(key),
        staleness=_read_staleness(http.headers.get(MAX_STALENESS))
        if method.verb == "GET"
        else None,
        request_id=exchange.request_id,
        correlation_id=exchange.correlation_id,
        client=exchange.caller.address,
        is_gone=exchange.is_gone,
    )


def _last(value: Any) -> Any:
    """Return the value that counts of a parameter, which a query or a form may repeat."""
    return value[-1] if isinstance(value, list) and value else value


def _read_staleness(header: str | None) -> Staleness | None:
    """Return the staleness that a caller allows. Raises `InvalidRequest` for a value that is not seconds."""
    if header is None or not header.strip():
        return None
    if not SECONDS_FORMAT.fullmatch(header.strip()):
        raise InvalidRequest(MAX_STALENESS)
    return Staleness(float(header))


def _staleness_headers(staleness: Staleness | None) -> dict[str, str]:
    """Return the headers that say how old a response is, if the caller allows staleness."""
    if staleness is None:
        return {}
    if staleness.seconds is None:
        return {STALENESS: "0"}
    return {STALENESS: f"{staleness.seconds:.3f}", POSITION: str(staleness.position)}


def idempotency_key(header: str) -> str:
    """Return the key of a header. Raises `InvalidRequest` for a blank or another invalid one."""
    if not header.strip() or len(header) > 255 or not header.isprintable():
        raise InvalidRequest("Idempotency-Key")
    return header.strip()
