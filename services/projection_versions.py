"""The versions of the views' definitions in this code."""

from __future__ import annotations

__all__ = ["VERSION", "VERSIONS"]

VERSIONS = {
    "access_tokens": 3,
    "communications": 1,
    "contacts": 2,
    "entities": 3,
    "identifiers": 2,
    "queue_entries": 1,
    "records": 2,
    "service_requests": 1,
    "sessions": 3,
}
"""By view; raised with each change of what the view holds."""

VERSION = sum(VERSIONS.values())
"""Rises with that of any view. Who writes by an older one than the views were written by is refused."""
