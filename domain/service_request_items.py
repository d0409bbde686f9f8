"""The items of a service request: services, physical goods, other service requests.

Contract service_requests.md, section 6.13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from domain.aggregate import DomainEvent
from domain.errors import (
    DuplicateEntity,
    EntityNotFound,
    EntityNotUnique,
    InvalidParameterValue,
)
from domain.fields import JsonObject
from domain.identifiers import Identifier

__all__ = ["SetItemAdded", "SetItemChanged", "SetItemRemoved", "check_item", "find_item"]

UNIQUE_LINK = {"services_set": "product", "related_service_requests_set": "service_request"}
"""The link that is unique within a set, by set."""


class SetItemAdded(DomainEvent):
    """An item was added at the end of its set."""

    PERSONAL = {"item": frozenset({"description"})}
    set_name: str
    item: JsonObject

    def apply_to(self, aggregate: Any) -> None:
        items = [*aggregate.sets.get(self.set_name, ()), self.item]
        aggregate.sets = aggregate.sets | {self.set_name: items}


class SetItemChanged(DomainEvent):
    """Fields of an item changed."""

    PERSONAL = {"changes": frozenset({"description"})}
    set_name: str
    item_id: str
    changes: JsonObject

    def apply_to(self, aggregate: Any) -> None:
        items = [
            item | self.changes if item["id"] == self.item_id else item
            for item in aggregate.sets[self.set_name]
        ]
        aggregate.sets = aggregate.sets | {self.set_name: items}


class SetItemRemoved(DomainEvent):
    """An item was removed from its set."""

    set_name: str
    item_id: str

    def apply_to(self, aggregate: Any) -> None:
        remaining = [item for item in aggregate.sets[self.set_name] if item["id"] != self.item_id]
        aggregate.sets = aggregate.sets | {self.set_name: remaining}


def check_item(
    request_id: UUID, set_name: str, items: Sequence[JsonObject], item: JsonObject, path: str
) -> None:
    """Refuses an item that another one of its set excludes.

    Raises `InvalidParameterValue` for a relation of a service request to itself and
    `DuplicateEntity` for a second service of a product or relation to a service request.
    """
    link = UNIQUE_LINK.get(set_name)
    if link is None:
        return
    if item[link] == request_id.hex.upper():
        raise InvalidParameterValue(f"{path}.{link}_identifier")
    if any(other[link] == item[link] for other in items):
        raise DuplicateEntity(f"{path}.{link}_identifier")


def find_item(
    items: Sequence[JsonObject], identifier: Identifier | Mapping[str, str], path: str
) -> JsonObject:
    """The item with an identifier, or with a link to the given entity (section 2).

    Raises `EntityNotFound` and `EntityNotUnique`.
    """
    if isinstance(identifier, Identifier):
        identifier = {identifier.field: identifier.value}
    matches = [item for item in items if all(item.get(k) == v for k, v in identifier.items())]
    if not matches:
        raise EntityNotFound(path)
    if len(matches) > 1:
        raise EntityNotUnique(path)
    return matches[0]
