"""The response keys of the service_requests methods: service_requests.md, section 7.

Products and items are those of reference_entities.md, section 3.5.
"""

from __future__ import annotations

from tests.contract.shape import Leaf, Many, Obj, Shape, leaves, maybe, sure
from tests.contract.shapes_common import (
    ACCOUNT,
    COMPACT_CONTACT,
    CONTACT,
    LOG_INFORMATION,
    OWNED_BY_GROUP,
    PRIVACY_LEVEL,
    UNIT,
    USER,
    coded,
    udf,
)
from tests.contract.shapes_reference import COMPACT_SERVICE_REQUEST, JOB, SUBSCRIPTION

__all__ = ["SERVICE_REQUESTS"]

ID, TEXT, NUMBER, BOOLEAN = Leaf.ID, Leaf.TEXT, Leaf.NUMBER, Leaf.BOOLEAN

PRODUCT_TYPE = Obj(
    {
        "id": ID,
        **leaves("name description alternative_code classification composition_method"),
        **leaves("service_type physical_good_type"),
        "used_for_provisioning": BOOLEAN,
    }
)
PRODUCT = Obj(
    {"id": ID, **leaves("code alternative_code description"), "product_type": PRODUCT_TYPE}
)
INSTALLED_ITEM = Obj(
    {
        "id": ID,
        **leaves("serial_number alternative_code state"),
        "state_classification": coded("name alternative_code"),
        "product": maybe(PRODUCT),
    }
)


def answer(date: str, by: str) -> Obj:
    """A response or resolution: what was said, by whom, and who accepted it for the customer."""
    category = Obj(
        {"id": ID, **leaves("name code description"), "requires_customer_acceptance": BOOLEAN}
    )
    said: dict[str, Shape] = {"category": category, date: ID, by: sure(USER)}
    accepted: dict[str, Shape] = {"accepted_by": CONTACT, "accepted_date": TEXT}
    return maybe(Obj({**said, "description": TEXT, **accepted}))


SERVICE = Obj({"id": ID, "product": PRODUCT})
PHYSICAL_GOOD = Obj(
    {
        "id": ID,
        "installed_item": maybe(INSTALLED_ITEM),
        "product": maybe(PRODUCT),
        "serial_number": TEXT,
        "warranty_coverage_reason": coded("name alternative_code"),
    }
)
RELATED = Obj({"id": ID, "service_request": COMPACT_SERVICE_REQUEST, "description": TEXT})
SERVICE_REQUEST = Obj(
    {
        **leaves("id number life_cycle_state urgency_level impact_level start_date", ID),
        **leaves("description notes caller_email caller_phone priority_level"),
        **leaves("expected_completion_date actual_completed_date"),
        "estimated_completion_time": maybe(
            Obj({"time_period_value": NUMBER, "time_period_uot": ID})
        ),
        **udf(8, 4, 4),
        "accounts_receivable": sure(ACCOUNT),
        "contact_information": COMPACT_CONTACT,
        "type": sure(coded("name alternative_code description")),
        "status": sure(coded("name alternative_code description life_cycle_state")),
        "category": sure(coded("name code description classification")),
        "assigned_to": Obj({"unit": sure(UNIT), "user": USER}),
        "referring_to": Obj({"subscription": SUBSCRIPTION, "job": JOB}),
        "response": answer("response_date", "responded_by"),
        "temporary_resolution": answer("temporary_resolution_date", "temporary_resolved_by"),
        "final_resolution": answer("final_resolution_date", "final_resolved_by"),
        "cancellation_reason": coded("name alternative_code description"),
        "services_set": Many(SERVICE),
        "physical_goods_set": Many(PHYSICAL_GOOD),
        "related_service_requests_set": Many(RELATED),
        "owned_by_group": OWNED_BY_GROUP,
        "privacy_level": PRIVACY_LEVEL,
        "log_information": LOG_INFORMATION,
    }
)
ONE = (
    "show create update respond temporary_resolve final_resolve complete response_accept"
    " temporary_resolution_accept final_resolution_accept cancel"
)
MANY = (
    "list get_overdue get_pending get_close_to_estimated_completion_time"
    " get_responded get_responded_pending_acceptance"
    " get_temporary_resolved get_temporary_resolved_pending_acceptance"
    " get_final_resolved get_final_resolved_pending_acceptance get_completed"
)

SERVICE_REQUESTS: dict[str, Shape] = {
    **{f"service_requests/{method}": SERVICE_REQUEST for method in ONE.split()},
    **{f"service_requests/{method}": Many(SERVICE_REQUEST) for method in MANY.split()},
}
"""Method path -> shape of its `data`."""
