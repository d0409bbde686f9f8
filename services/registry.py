"""The compact object of every entity that is shown inside others.

Importing it makes all projections known.
"""

from __future__ import annotations

from domain.fields import Shape
from domain.reference.catalogue import KINDS
from services.access_tokens.projection import COMPACT_ACCESS_TOKEN
from services.audit import projection as access_documents  # noqa: F401 (declare projections)
from services.communications.projection import COMPACT_COMMUNICATION
from services.contacts.projection import COMPACT_CONTACT
from services.reference import projection as record_documents  # noqa: F401 (declare projections)
from services.service_requests.projection import COMPACT_SERVICE_REQUEST

__all__ = ["COMPACTS"]

COMPACTS: dict[str, Shape] = {
    "contact_information": COMPACT_CONTACT,
    "communication": COMPACT_COMMUNICATION,
    "access_token": COMPACT_ACCESS_TOKEN,
    "service_request": COMPACT_SERVICE_REQUEST,
} | {shape.name: shape for kind in KINDS.values() if kind.compact for shape in kind.shapes}
"""The compact object of every entity that is shown inside others, by entity."""
