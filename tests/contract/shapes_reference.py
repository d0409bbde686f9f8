"""What a communication can refer to: contract reference_entities.md section 3.

All 19 kinds are written down, seen in an example or not: an answer shows every key of every kind.
The compact service request is from service_requests.md section 7.
"""

from __future__ import annotations

from tests.contract.shape import Leaf, Obj, Shape, leaves, maybe, sure
from tests.contract.shapes_common import (
    ACCOUNT,
    COMPACT_CONTACT,
    CONTACT,
    NUMBERED,
    UNIT,
    coded,
)

__all__ = [
    "COMPACT_ACCESS_TOKEN",
    "COMPACT_COMMUNICATION",
    "COMPACT_SERVICE_REQUEST",
    "JOB",
    "PARTICIPANT",
    "REFERRING_TO",
    "SUBSCRIPTION",
]

ID, TEXT, NUMBER, FLAG = Leaf.ID, Leaf.TEXT, Leaf.NUMBER, Leaf.FLAG

PARTICIPANT = maybe(Obj({"id": ID, "number": TEXT, "accounts_receivable": ACCOUNT}))
SUBSCRIPTION = maybe(
    Obj(
        {
            **NUMBERED,
            **leaves("first_activated_date rating_state"),
            "accounts_receivable": ACCOUNT,
            "type": coded("name description alternative_code"),
        }
    )
)
DESCRIBED = {**NUMBERED, "description": TEXT}
JOB = maybe(Obj(DESCRIBED))
BILL = maybe(
    Obj(
        {
            **NUMBERED,
            **leaves("from_date to_date due_date bill_status"),
            **leaves("total_billed_amount total_amount_to_be_paid", NUMBER),
            "currency": coded(
                "code prefix_symbol suffix_symbol life_cycle_state integer_part_name"
                " decimal_part_name"
            ),
        }
    )
)
PAYMENT = maybe(
    Obj({**NUMBERED, **leaves("reference_number issued_on posted_on"), "payment_amount": NUMBER})
)
CARD = maybe(
    Obj(
        {
            "id": ID,
            **leaves("payment_gateway_reference_number brand type card_holder_name last_digits"),
            **leaves("expiration_month expiration_year", NUMBER),
        }
    )
)
REWARD = {
    **NUMBERED,
    **leaves("amount alternative_amount", NUMBER),
    "rewards_participant": PARTICIPANT,
}
EVENT = {
    **DESCRIBED,
    **leaves("type performed_on reference_number"),
    "accounts_receivable": ACCOUNT,
    "performed_by_unit": UNIT,
}
COMPACT_SERVICE_REQUEST = Obj(
    {
        **leaves("id number life_cycle_state", ID),
        "description": TEXT,
        "type": sure(coded("name alternative_code")),
        "status": sure(coded("name alternative_code life_cycle_state")),
        "contact_information": COMPACT_CONTACT,
    }
)
COMPACT_ACCESS_TOKEN = Obj(leaves("id number authentication_code life_cycle_state", ID))
COMPACT_COMMUNICATION = Obj(
    {
        "id": ID,
        "number": ID,
        "life_cycle_state": ID,
        "subject": TEXT,
        "viewed": FLAG,
        "viewed_on": TEXT,
        "contact_information": COMPACT_CONTACT,
    }
)
REFERRING_TO: dict[str, Shape] = {
    "subscription": SUBSCRIPTION,
    "accounts_receivable": ACCOUNT,
    "activity": maybe(Obj({**DESCRIBED, "contact_information": CONTACT})),
    "job": JOB,
    "communication": maybe(COMPACT_COMMUNICATION),
    "bill": BILL,
    "notification": maybe(
        Obj({**NUMBERED, "contact_information": CONTACT, "accounts_receivable": ACCOUNT})
    ),
    "payment": PAYMENT,
    "payment_gateway_card": CARD,
    "payment_gateway_request": maybe(
        Obj(
            {
                **NUMBERED,
                "execution_date": TEXT,
                "accounts_receivable": ACCOUNT,
                "payment": PAYMENT,
                "bill": BILL,
            }
        )
    ),
    "service_request": maybe(COMPACT_SERVICE_REQUEST),
    "rewards_participant": PARTICIPANT,
    "award_reward_transaction": maybe(
        Obj({**REWARD, "contribution_percentage": NUMBER, "expiration_date": TEXT})
    ),
    "spend_reward_transaction": maybe(Obj({**REWARD, "date": TEXT, "unit": UNIT})),
    "lead": maybe(Obj({**DESCRIBED, "contact_information": CONTACT})),
    "buy_in_advance_request": maybe(
        Obj(
            {
                **DESCRIBED,
                "duration": NUMBER,
                **leaves("unit_of_time billing_state billing_effective_date"),
                "subscription": SUBSCRIPTION,
            }
        )
    ),
    "access_token": maybe(COMPACT_ACCESS_TOKEN),
    "purchase_customer_event": maybe(
        Obj({**EVENT, **leaves("total_amount net_amount vat_amount", NUMBER)})
    ),
    "spend_request_customer_event": maybe(Obj({**EVENT, "amount": NUMBER})),
}
