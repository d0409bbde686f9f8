"""The Web API itself: every registered method below its base path, and the image download."""

from __future__ import annotations

import base64
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
from infra.http.api.body import is_multipart, parse_multipart, read_body
from infra.http.api.envelope import ok
from infra.http.api.json_body import parse_json_object
from infra.http.api.query_string import parse_query
from infra.http.images import clean_file_name
from infra.http.router import Exchange, Handler, Router, response
from services.authentication import LoginServices
from services.clock import utc_now
from services.pipeline.dispatcher import Dispatcher
from services.pipeline.method import BASE, METHODS, Login, Method
from services.pipeline.request import Request, Upload
from services.ports import PhotoStore
from services.staleness import Staleness

__all__ = ["AGE", "IMAGES", "MOST", "MOST_FORMAT", "POSITION", "Api", "idempotency_key"]

IMAGES = "/crm/ImageDownloadServlet"
JSON_LIMIT = 1024 * 1024
FORM_LIMIT = 10 * 1024 * 1024
SECONDS = 30.0
"""How long a body may take to arrive."""

MOST = "X-Max-Staleness"
"""The header by which a caller allows a read to be so many seconds old."""

MOST_FORMAT = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
AGE, POSITION = "X-Staleness", "X-Position"
"""The headers of an answer that say how old it is at most, and up to where it holds everything."""

_PHOTO_ID = re.compile(r"[0-9A-F]{32}")
IMAGE_STATUS = {InvalidToken: 401, TokenExpired: 401, EntityNotFound: 404, AccessDenied: 404}
"""An image is fetched by browsers, which go by the HTTP status (common.md, section 12)."""


class Api:
    """Handlers of the Web API."""

    def __init__(
        self,
        runner: Dispatcher,
        desk: LoginServices,
        photos: PhotoStore,
        refused: Callable[[object, str], None],
    ) -> None:
        """:param refused: is told the token and the error's code of each call that is refused."""
        self._runner = runner
        self._desk = desk
        self._photos = photos
        self._refused = refused

    def routes(self, edge: Router) -> None:
        """Serves every method of the registry."""
        for method in METHODS.values():
            edge.add(method.verb, BASE + method.path, self._handler(method), method.path)
        edge.add("GET", IMAGES, self._image, "ImageDownloadServlet")

    def _handler(self, method: Method) -> Handler:
        async def handle(exchange: Exchange) -> web.StreamResponse:
            request = await _request(method, exchange)
            if isinstance(method, Login):
                return response(ok(await self._open(method, request)))
            try:
                data = await self._runner.run(method, request)
                return response(ok(data), headers=_age(request.staleness))
            except ServiceError as error:
                self._refused(request.parameters.get("token"), error.code)
                raise

        return handle

    async def _open(self, method: Login, request: Request) -> bytes:
        zone = self._desk.zone
        given = method.parameters.read(
            request.parameters, ReadContext(zone, utc_now().astimezone(zone).date())
        )
        values = await method.function(request, given, self._desk)
        return orjson.dumps(method.response.render(values, zone))

    async def _image(self, exchange: Exchange) -> web.StreamResponse:
        """Contract contact_information.md, section 11."""
        query = parse_query(exchange.query)
        try:
            session = await self._runner.session(query.get("token", [None])[-1])
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


async def _request(method: Method, exchange: Exchange) -> Request:
    """The parameters of a call. Raises `InvalidRequest` and `RequestTooLarge`."""
    http = exchange.request
    raw: dict[str, Any]
    files: dict[str, Upload] = {}
    if method.verb == "GET":
        raw = dict(parse_query(exchange.query))
    else:
        content_type = http.headers.get("Content-Type", "")
        if is_multipart(content_type) is not method.multipart:
            raise InvalidRequest("Content-Type")
        body = await read_body(http, FORM_LIMIT if method.multipart else JSON_LIMIT, SECONDS)
        if method.multipart:
            form, uploads = await parse_multipart(content_type, body)
            raw = dict(form)
            for name, upload in uploads.items():
                files[name] = Upload(clean_file_name(upload.file_name), upload.content)
        else:
            raw = parse_json_object(body)
    return Request(
        parameters=raw,
        from_query_or_form=method.verb == "GET" or method.multipart,
        files=files,
        web_api_key=_basic(http.headers.get("Authorization", "")),
        idempotency_key=idempotency_key(http.headers.get("Idempotency-Key")),
        staleness=_staleness(http.headers.get(MOST)) if method.verb == "GET" else None,
        request_id=exchange.request_id,
        correlation_id=exchange.correlation_id,
        client=http.remote or "",
    )


def _basic(header: str) -> str | None:
    """The key of a Basic header: the user name, with or without a colon and no password."""
    scheme, _, credentials = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except ValueError:  # no base64, no UTF-8, or a header that is not even ASCII
        return None
    key, _, password = text.partition(":")
    return None if password else key or None


def _staleness(header: str | None) -> Staleness | None:
    """What the caller allows. Raises `InvalidRequest` for what is no number of seconds."""
    if header is None or not header.strip():
        return None
    if not MOST_FORMAT.fullmatch(header.strip()):
        raise InvalidRequest(MOST)
    return Staleness(float(header))


def _age(staleness: Staleness | None) -> dict[str, str]:
    """Headers that say how old an answer is, to callers who have allowed it to be."""
    if staleness is None:
        return {}
    if staleness.seconds is None:
        return {AGE: "0"}
    return {AGE: f"{staleness.seconds:.3f}", POSITION: str(staleness.position)}


def idempotency_key(header: str | None) -> str | None:
    """The key of a header, None if there is none. Raises `InvalidRequest` for what can be none."""
    if header is None or not header.strip():
        return None
    if len(header) > 255 or not header.isprintable():
        raise InvalidRequest("Idempotency-Key")
    return header.strip()
