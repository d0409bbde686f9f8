"""Objects that many answers share: contract common.md section 10."""

from __future__ import annotations

from tests.contract.shape import Leaf, Obj, Shape, leaves, maybe

__all__ = [
    "ACCOUNT",
    "COMPACT_CONTACT",
    "COMPANY_PROFILE",
    "CONTACT",
    "CONTACT_NAMES",
    "COUNTRY",
    "DEMOGRAPHICS",
    "FILE",
    "LOG_INFORMATION",
    "NUMBERED",
    "OWNED_BY_GROUP",
    "PRIVACY_LEVEL",
    "UNIT",
    "USER",
    "coded",
    "udf",
]

ID, TEXT, NUMBER = Leaf.ID, Leaf.TEXT, Leaf.NUMBER


def udf(strings: int, floats: int, dates: int) -> dict[str, Shape]:
    """User defined fields; their counts differ from object to object."""
    counts = {"string": strings, "float": floats, "date": dates}
    return {
        f"udf_{kind}_{number}": NUMBER if kind == "float" else TEXT
        for kind, count in counts.items()
        for number in range(1, count + 1)
    }


def coded(names: str) -> Obj:
    """A compact object of an id and texts, null when there is none."""
    return maybe(Obj({"id": ID, **leaves(names)}))


USER = coded("username person_name email")
UNIT = coded("name description alternative_code group_name community_name")
LOG_INFORMATION = Obj(
    {
        "created_date": ID,
        "updated_date": ID,
        "created_by_user": USER,
        "updated_by_user": USER,
        "created_by_unit": UNIT,
        "updated_by_unit": UNIT,
    }
)
OWNED_BY_GROUP = Obj({"id": ID, **leaves("name description alternative_code community_name")})
PRIVACY_LEVEL = maybe(Obj({"id": ID, **leaves("number name"), "hierarchy_level": NUMBER}))
FILE = Obj(leaves("file_name file_content_url file_mime_type"))
COUNTRY = maybe(
    Obj(
        {
            "id": ID,
            **leaves("name alternative_code dialing_code"),
            **leaves("two_character_code three_character_code"),
            "country_flag": maybe(Obj({"id": ID, "file": FILE})),
        }
    )
)
INDUSTRY = coded("name code")
INDUSTRY_SECTOR = coded("name alternative_code")

DEMOGRAPHICS = Obj(
    {
        **leaves("gender id_number id_number_expiration_date passport_number"),
        **leaves("passport_number_expiration_date social_security_number"),
        "date_of_birth": Obj(leaves("day month year", NUMBER)),
        "name_day": Obj(leaves("day month", NUMBER)),
        "country_of_residence": COUNTRY,
        "id_issued_by_country": COUNTRY,
        "passport_issued_by_country": COUNTRY,
        "industry": INDUSTRY,
        "industry_sector": INDUSTRY_SECTOR,
    }
)
COMPANY_PROFILE = Obj(
    {
        **leaves("profile_year annual_turnover number_of_employees", NUMBER),
        **leaves("established_date registration_number vat_registration_number"),
        **leaves("vat_registered_by vat_registration_date tax_reference_number"),
        "registered_in_country": COUNTRY,
        "industry": INDUSTRY,
        "industry_sector": INDUSTRY_SECTOR,
    }
)
CONTACT_NAMES = leaves("name title first_name middle_name last_name company_name")
COMPACT_CONTACT = Obj(
    {
        "id": ID,
        "type": ID,
        "life_cycle_state": ID,
        **CONTACT_NAMES,
        "demographics": maybe(DEMOGRAPHICS),
        "company_profile": maybe(COMPANY_PROFILE),
    }
)
CONTACT = maybe(COMPACT_CONTACT)

NUMBERED = {"id": ID, **leaves("number life_cycle_state")}
ACCOUNT = maybe(Obj({**NUMBERED, "name": TEXT, "account_owner": CONTACT}))
