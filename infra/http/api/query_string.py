"""Query strings: the parameters of GET methods (contract common.md, section 1)."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from domain.errors import InvalidRequest

__all__ = ["MAX_PARAMETERS", "parse_query"]

MAX_PARAMETERS: Final = 1000
"""The most parameters of a query string; the HTTP parser limits the request line itself."""

_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def parse_query(raw: str) -> dict[str, list[str]]:
    """Decode a query string: UTF-8 percent-encoding, ``+`` is a blank (common.md, section 1).

    :param raw: the part after ``?`` as it was sent, still encoded; bytes that are not UTF-8 may be
        surrogates, as the HTTP parser leaves them.
    :return: the values of each parameter by name, in their order, including blank ones. A name
        without ``=`` has the value ``""``; only the first ``=`` separates, so a value may contain more
        of them (section 3 needs that).
    :raises InvalidRequest: a broken escape, text that is not UTF-8, or more than ``MAX_PARAMETERS``
        parameters.
    """
    if raw.count("&") >= MAX_PARAMETERS:
        raise InvalidRequest(f"the query has more than {MAX_PARAMETERS} parameters")
    if _BROKEN_ESCAPE.search(raw):
        raise InvalidRequest("the query has a broken percent escape")
    parameters: dict[str, list[str]] = {}
    for pair in raw.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            parameters.setdefault(_decoded(name), []).append(_decoded(value))
    return parameters


def _decoded(text: str) -> str:
    if "%" not in text and "+" not in text and text.isascii():
        return text
    try:
        return unquote_to_bytes(text.replace("+", " ").encode("utf-8", "surrogateescape")).decode()
    except UnicodeError as error:
        raise InvalidRequest("the query is not UTF-8") from error
