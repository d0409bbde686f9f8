"""Importing this module fills the registries: methods, projections, compact objects and events.

Whoever walks one of them imports it first: ``import services.registry``.
"""

from __future__ import annotations

from domain.reference.catalogue import KINDS
from services import authentication as _authentication  # noqa: F401
from services import projections
from services.access_tokens import methods as _access_tokens  # noqa: F401
from services.access_tokens.projection import COMPACT_ACCESS_TOKEN
from services.audit import projection as _history_access  # noqa: F401
from services.communications import methods as _communications  # noqa: F401
from services.communications import queue as _queue  # noqa: F401
from services.communications.projection import COMPACT_COMMUNICATION
from services.contacts import methods as _contacts  # noqa: F401
from services.contacts.projection import COMPACT_CONTACT
from services.reference import projection as _reference  # noqa: F401
from services.service_requests import configuration as _configuration  # noqa: F401
from services.service_requests import lists as _lists  # noqa: F401
from services.service_requests import methods as _service_requests  # noqa: F401
from services.service_requests.projection import COMPACT_SERVICE_REQUEST

__all__: list[str] = []

projections.COMPACTS |= {
    "contact_information": COMPACT_CONTACT,
    "communication": COMPACT_COMMUNICATION,
    "access_token": COMPACT_ACCESS_TOKEN,
    "service_request": COMPACT_SERVICE_REQUEST,
} | {shape.name: shape for kind in KINDS.values() if kind.compact for shape in kind.shapes}
