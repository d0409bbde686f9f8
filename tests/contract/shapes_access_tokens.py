"""The response keys of the access_tokens methods: access_tokens.md, sections 6 and 7."""

from __future__ import annotations

from tests.contract.shape import Leaf, Many, Obj, Shape, leaves
from tests.contract.shapes_common import ACCOUNT, LOG_INFORMATION, USER, coded, udf
from tests.contract.shapes_reference import PARTICIPANT

__all__ = ["ACCESS_TOKENS"]

ID, TEXT = Leaf.ID, Leaf.TEXT

ALWAYS = {
    **leaves("id number life_cycle_state authentication_code", ID),
    "identifier": TEXT,
    "log_information": LOG_INFORMATION,
}
ACCESS_TOKEN = Obj(
    {
        **ALWAYS,
        **leaves("verification_code verified_date"),
        "verified_by_user": USER,
        **udf(8, 4, 4),
        "classification": coded("name alternative_code"),
        "accounts_receivable": ACCOUNT,
        "reward_participant": PARTICIPANT,
    }
)
RESET_PASS = Obj({**ALWAYS, "random_pass_code": ID})
RESET_VERIFICATION = Obj({**ALWAYS, "verification_code": ID})
OTP = Obj(leaves("id number one_time_password expiration_date", ID))

ACCESS_TOKENS: dict[str, Shape] = {
    "access_tokens/show": ACCESS_TOKEN,
    "access_tokens/list": Many(ACCESS_TOKEN),
    "access_tokens/get_not_associated": Many(ACCESS_TOKEN),
    "access_tokens/create": ACCESS_TOKEN,
    "access_tokens/update": ACCESS_TOKEN,
    "access_tokens/verify": ACCESS_TOKEN,
    "access_tokens/reset_pass_code": RESET_PASS,
    "access_tokens/reset_verification_code": RESET_VERIFICATION,
    "access_tokens/generate_otp": OTP,
    "access_tokens/set_as_effective": ACCESS_TOKEN,
    "access_tokens/set_as_not_effective": ACCESS_TOKEN,
}
"""Method path -> shape of its `data`."""
