"""The response keys of every method, at every depth; those of a resource may stand beside it.

Written down from the contract alone, without looking at any golden file: the two are compared
with each other (test_coverage.py), so a key forgotten in one of them shows.
"""

from __future__ import annotations

from tests.contract.shape import Leaf, Many, Obj, Shape, assert_shape, leaves
from tests.contract.shapes_access_tokens import ACCESS_TOKENS
from tests.contract.shapes_common import (
    COMPACT_CONTACT,
    COMPANY_PROFILE,
    CONTACT_NAMES,
    COUNTRY,
    DEMOGRAPHICS,
    FILE,
    LOG_INFORMATION,
    OWNED_BY_GROUP,
    PRIVACY_LEVEL,
    USER,
    coded,
    udf,
)
from tests.contract.shapes_reference import COMPACT_COMMUNICATION, REFERRING_TO
from tests.contract.shapes_service_requests import SERVICE_REQUESTS

__all__ = ["NOTHING", "SHAPES", "STATUS", "assert_shape"]

ID, TEXT, NUMBER, FLAG, BOOLEAN = Leaf.ID, Leaf.TEXT, Leaf.NUMBER, Leaf.FLAG, Leaf.BOOLEAN

NOTHING = Obj({})
"""`data` of an error, and of a method without response data."""
STATUS = Obj({"code": ID, **leaves("message description")})

# --- contact_information.md section 10 ----------------------------------------------------------

ENTRY = {"id": ID, "type": ID, "state": ID}
ADDRESS = Obj(
    {
        **ENTRY,
        **leaves("care_of street_name street_number apartment_number area town_city district"),
        **leaves("municipality postal_code po_box po_box_postal_code"),
        "floor": NUMBER,
        "country": COUNTRY,
        **udf(16, 4, 4),
    }
)
PHONE = Obj(
    {**ENTRY, **leaves("number area_code full_number notes"), "country": COUNTRY, **udf(8, 4, 4)}
)
EMAIL = Obj({**ENTRY, **leaves("email notes"), **udf(8, 4, 4)})
RELATION = Obj({"id": ID, "type": ID, "notes": TEXT, "contact": COMPACT_CONTACT})
AUTHORIZATION_SETTINGS = Obj(
    {
        "send_direct_marketing_material": BOOLEAN,
        "direct_marketing_setting_updated_date": TEXT,
        "direct_marketing_setting_updated_by_user": USER,
        "send_affiliate_marketing_material": BOOLEAN,
        "affiliate_marketing_setting_updated_date": TEXT,
        "affiliate_marketing_setting_updated_by_user": USER,
    }
)
FULL_CONTACT = Obj(
    {
        "id": ID,
        "number": ID,
        "type": ID,
        "life_cycle_state": ID,
        **CONTACT_NAMES,
        **leaves("notes preferred_language"),
        "organizational_unit": FLAG,
        **udf(16, 8, 8),
        "category": coded("name code"),
        "owned_by_group": OWNED_BY_GROUP,
        "privacy_level": PRIVACY_LEVEL,
        "demographics": DEMOGRAPHICS,
        "company_profile": COMPANY_PROFILE,
        "addresses_set": Many(ADDRESS),
        "phones_set": Many(PHONE),
        "emails_set": Many(EMAIL),
        "relation_set": Many(RELATION),
        "authorization_settings": AUTHORIZATION_SETTINGS,
        "log_information": LOG_INFORMATION,
    }
)

# --- communications.md section 2 ----------------------------------------------------------------

EXTERNAL_SYSTEM = coded("name alternative_code")
PARAMETER = Obj(
    {
        **leaves("id key name type", ID),
        **leaves("string_value date_value"),
        **leaves("float_value integer_value", NUMBER),
    }
)
COMMUNICATION = Obj(
    {
        **leaves("id number code life_cycle_state direction media", ID),
        **leaves("subject content from to notes viewed_on"),
        "viewed": FLAG,
        "contact_information": COMPACT_CONTACT,
        "category": coded("name description code"),
        "communication_queue_external_system": EXTERNAL_SYSTEM,
        "referring_to": Obj(REFERRING_TO),
        "follow_up_set": Many(COMPACT_COMMUNICATION),
        "unrestricted_parameter_set": Many(PARAMETER),
        **udf(8, 4, 4),
        "owned_by_group": OWNED_BY_GROUP,
        "privacy_level": PRIVACY_LEVEL,
        "log_information": LOG_INFORMATION,
    }
)
QUEUE_ENTRY = Obj(
    {
        **leaves("id number life_cycle_state", ID),
        **leaves("error_code error_description"),
        "communication": COMPACT_COMMUNICATION,
        "communication_queue_external_system": EXTERNAL_SYSTEM,
        "log_information": LOG_INFORMATION,
    }
)

SHAPES: dict[str, Shape] = {
    "communications/show": COMMUNICATION,
    "communications/list": Many(COMMUNICATION),
    "communications/create": COMMUNICATION,
    "communications/update": COMMUNICATION,
    "communications/complete": COMPACT_COMMUNICATION,
    "communications/set_as_viewed": COMPACT_COMMUNICATION,
    "communications/queue/show": QUEUE_ENTRY,
    "communications/queue/list": Many(QUEUE_ENTRY),
    "communications/queue/get_latest": Many(QUEUE_ENTRY),
    "communications/queue/get_pending_completed": Many(QUEUE_ENTRY),
    "communications/queue/process": QUEUE_ENTRY,
    "communications/queue/reject": QUEUE_ENTRY,
    "communications/queue/remove": QUEUE_ENTRY,
    "contact_information/show": FULL_CONTACT,
    "contact_information/list": Many(FULL_CONTACT),
    "contact_information/create": COMPACT_CONTACT,
    "contact_information/update": FULL_CONTACT,
    "contact_information/profile_photo/view": FILE,
    "contact_information/profile_photo/add": FILE,
    "contact_information/profile_photo/remove": NOTHING,
    **ACCESS_TOKENS,
    **SERVICE_REQUESTS,
}
"""Method path -> shape of its `data`."""
