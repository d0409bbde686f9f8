"""The services, physical goods and relations of a service request (service_requests.md, 6.13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from domain.errors import InvalidParameterValue, InvalidProduct, MandatoryParameter
from domain.fields import JsonObject
from domain.service_request import ServiceRequest
from domain.service_request_fields import SETS
from domain.service_request_items import find_item
from services.pipeline.request import Call

__all__ = ["apply_items", "product_streams"]

RECORDS = {"product", "installed_item"}
COVERAGE = "warranty_coverage_reason"


def product_streams(call: Call) -> Iterator[UUID]:
    """The registered products and items that are to be added."""
    for set_name in SETS:
        for item in call.params.get(set_name) or ():
            for kind in RECORDS & item.keys():
                if item[kind]:
                    yield call.record_id(kind, item[kind])


def apply_items(request: ServiceRequest, call: Call) -> None:
    """Adds, changes and removes items in the order in which they are given.

    Raises what `check_item` and `find_item` do, and `InvalidProduct`, `MandatoryParameter` and
    `InvalidParameterValue` as section 6.13 says.
    """
    for set_name, items in SETS.items():
        for n, param in enumerate(call.params.get(set_name) or ()):
            path = f"{set_name}[{n}]"
            if param["action"] == "ADD":
                request.add_item(set_name, _item(call, set_name, param, path), call.actor, path)
                continue
            identifier_path = f"{path}.{items.item_identifier.entity}_identifier"
            item = find_item(request.sets.get(set_name, ()), param["identifier"], identifier_path)
            if param["action"] == "REMOVE":
                request.remove_item(set_name, item, call.actor)
            else:
                changes = {k: v for k, v in param.items() if k not in ("action", "identifier")}
                request.change_item(set_name, item, changes, call.actor)


def _item(call: Call, set_name: str, param: JsonObject, path: str) -> JsonObject:
    """A complete new item."""
    item = {k: v for k, v in param.items() if k != "action" and v is not None}
    if set_name == "services_set":
        _check_product(call, item, "SERVICES", path)
    elif set_name == "physical_goods_set":
        item |= _installed_item_values(call, item, path) if "installed_item" in item else {}
        if "installed_item" not in item:
            _check_good(call, item, path)
    return {"id": call.new_id_text()} | item


def _installed_item_values(call: Call, item: JsonObject, path: str) -> JsonObject:
    """The values of an installed item. Raises as `_check_coverage` does."""
    record = call.record("installed_item", item["installed_item"])
    fields = record.fields if record else {}
    _check_coverage(item, path, covered=bool(fields.get("under_warranty")))
    return {"product": fields.get("product"), "serial_number": fields.get("serial_number")}


def _check_good(call: Call, item: JsonObject, path: str) -> None:
    """Refuses a serial number of a physical good that is not traceable and flat."""
    kind = _check_product(call, item, "PHYSICALGOODS", path)
    traceable = (kind.get("physical_good_type"), kind.get("composition_method"))
    if "serial_number" in item and traceable != ("TRACEABLE", "FLAT"):
        raise InvalidParameterValue(f"{path}.serial_number")
    _check_coverage(item, path, covered=False)


def _check_coverage(item: JsonObject, path: str, *, covered: bool) -> None:
    if covered and COVERAGE not in item:
        raise MandatoryParameter(f"{path}.{COVERAGE}_identifier")
    if not covered and COVERAGE in item:
        raise InvalidParameterValue(f"{path}.{COVERAGE}_identifier")


def _check_product(
    call: Call, item: JsonObject, classification: str, path: str
) -> Mapping[str, Any]:
    """The type of an item's product. Raises `InvalidProduct` for one of another classification."""
    record = call.record("product", item["product"])
    kind = call.directory.fields("product_type", record.fields["product_type"] if record else None)
    if kind.get("classification") != classification:
        raise InvalidProduct(f"{path}.product_identifier")
    return kind
