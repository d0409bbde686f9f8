"""The fields of a contact and of its sets (contract contact_information.md, sections 3, 4 and 10)."""

from __future__ import annotations

import re

from domain.composite_fields import Calendar, Items, Object, Reference
from domain.fields import Field
from domain.identifiers import Identifiable
from domain.reference.catalogue import identifiable
from domain.scalar_fields import NOTES, Boolean, Date, Enumeration, Integer, Number, Text, udf

__all__ = [
    "COMPANY_NAME",
    "COMPANY_PROFILE",
    "DEMOGRAPHICS",
    "ID",
    "MARKETING",
    "PASSIVE",
    "PERSONAL",
    "PERSON_NAME",
    "PROFILES",
    "SETS",
    "UDF",
    "email_address",
]

ADDRESS_TYPES = "HOME BUSINESS POBOX CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5"
PHONE_TYPES = "LANDLINE MOBILE FAX CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5"
EMAIL_TYPES = "PERSONAL BUSINESS CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5"
RELATION_TYPES = (
    "FAMILY_MEMBER EXTENDED_FAMILY PARTNER CLOSE_FRIEND FRIEND WORK_COLLEAGUE PARTNER_COMPANY "
    "CLIENT EMPLOYER EMPLOYEE BUSINESS CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5"
)
LANGUAGES = (
    "ARA DAN ENG EST FIN FRA DEU ELL JPN VIE MAL IND TAI LAV LIT NNO POL POR RUS SPA SWE UKR CMN "
    "TGL HIN CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5 CUSTOM6 CUSTOM7 CUSTOM8"
)
COUNTRY, INDUSTRY, SECTOR = map(identifiable, ("country", "industry", "industry_sector"))


def email_address(text: str) -> str | None:
    """An address with one ``@`` and text on both sides, as it is; else None."""
    name, _, host = text.partition("@")
    return text if name.strip() and host.strip() and "@" not in host else None


def phone_number(text: str) -> str | None:
    """The 3 to 20 digits of a number written with blanks, ``-`` and brackets; else None."""
    digits = re.sub(r"[ ()-]", "", text)
    return digits if re.fullmatch(r"[0-9]{3,20}", digits) else None


DEMOGRAPHICS: tuple[Field, ...] = (
    Enumeration(name="gender", words="MALE FEMALE"),
    Text(name="id_number"),
    Date(name="id_number_expiration_date", since="R14"),
    Text(name="passport_number"),
    Date(name="passport_number_expiration_date", since="R14"),
    Text(name="social_security_number"),
    Calendar(name="date_of_birth"),
    Calendar(name="name_day", parts=("day", "month")),
    Reference(name="country_of_residence", to=COUNTRY),
    Reference(name="id_issued_by_country", to=COUNTRY),
    Reference(name="passport_issued_by_country", to=COUNTRY),
    Reference(name="industry", to=INDUSTRY),
    Reference(name="industry_sector", to=SECTOR),
)
COMPANY_PROFILE: tuple[Field, ...] = (
    Integer(name="profile_year"),
    Number(name="annual_turnover"),
    Date(name="established_date"),
    Integer(name="number_of_employees"),
    Text(name="registration_number"),
    Text(name="vat_registration_number"),
    Text(name="vat_registered_by"),
    Date(name="vat_registration_date"),
    Text(name="tax_reference_number"),
    Reference(name="registered_in_country", to=COUNTRY),
    Reference(name="industry", to=INDUSTRY),
    Reference(name="industry_sector", to=SECTOR),
)
STATE = Text(name="state")
ID = Text(name="id")
ENTRY_UDF = udf(string=8, floating=4, date=4)
ADDRESS: tuple[Field, ...] = (
    Enumeration(name="type", words=ADDRESS_TYPES),
    Text(name="care_of"),
    Text(name="street_name"),
    Text(name="street_number"),
    Integer(name="floor"),
    Text(name="apartment_number"),
    Text(name="area"),
    Text(name="town_city"),
    Text(name="district"),
    Text(name="municipality"),
    Text(name="postal_code"),
    Text(name="po_box"),
    Text(name="po_box_postal_code"),
    Reference(name="country", to=COUNTRY),
    *udf(string=16, floating=4, date=4),
)
PHONE: tuple[Field, ...] = (
    Enumeration(name="type", words=PHONE_TYPES),
    Text(name="number", clean=phone_number),
    Text(name="area_code"),
    Reference(name="country", to=COUNTRY),
    Text(name="notes", longest=NOTES),
    *ENTRY_UDF,
)
EMAIL: tuple[Field, ...] = (
    Enumeration(name="type", words=EMAIL_TYPES),
    Text(name="email_address", sent_as="email", clean=email_address),
    Text(name="notes", longest=NOTES),
    *ENTRY_UDF,
)
RELATION: tuple[Field, ...] = (
    Enumeration(name="type", words=RELATION_TYPES),
    Text(name="notes", longest=NOTES),
    Reference(
        name="contact_information",
        sent_as="contact",
        to=identifiable("contact_information"),
        alias="contact_information",
    ),
)


def _typed(entry: str, types: str) -> Identifiable:
    return Identifiable(entry, ("id", "type"), enumerated={"type": frozenset(types.split())})


def _needed(*names: str) -> frozenset[str]:
    return frozenset(names)


SETS: dict[str, Items] = {
    "address_set": Items(
        name="address_set",
        sent_as="addresses_set",
        rows=ADDRESS,
        shape=(ID, ADDRESS[0], STATE, *ADDRESS[1:]),
        entry=_typed("address", ADDRESS_TYPES),
        needed=_needed("type", "street_name"),
        fixed=_needed("type"),
        personal=True,
    ),
    "phone_set": Items(
        name="phone_set",
        sent_as="phones_set",
        rows=PHONE,
        shape=(ID, PHONE[0], STATE, *PHONE[1:3], Text(name="full_number"), *PHONE[3:]),
        entry=_typed("phone", PHONE_TYPES),
        needed=_needed("type", "number"),
        fixed=_needed("type"),
        personal=True,
    ),
    "email_set": Items(
        name="email_set",
        sent_as="emails_set",
        rows=EMAIL,
        shape=(ID, EMAIL[0], STATE, *EMAIL[1:]),
        entry=_typed("email", EMAIL_TYPES),
        needed=_needed("type", "email_address"),
        fixed=_needed("type"),
        personal=True,
    ),
    "relation_set": Items(
        name="relation_set",
        rows=RELATION,
        shape=(ID, *RELATION),
        entry=Identifiable("relation", ("id",)),
        needed=_needed("type", "contact_information"),
        fixed=_needed("contact_information"),
        personal=True,
    ),
}
"""The sets of a contact by parameter."""

PERSON_NAME: tuple[Field, ...] = (
    Text(name="title", longest=50, personal=True),
    Text(name="first_name", personal=True),
    Text(name="middle_name", personal=True),
    Text(name="last_name", personal=True),
)
COMPANY_NAME = Text(name="company_name", personal=True)
PASSIVE: tuple[Field, ...] = (
    Enumeration(name="preferred_language", words=LANGUAGES, personal=True),
    Reference(name="category", to=identifiable("contact_category")),
    Reference(name="owned_by_group", to=identifiable("group")),
    Reference(name="privacy_level", to=identifiable("privacy_level")),
    Text(name="notes", longest=NOTES, personal=True),
)
MARKETING: tuple[Field, ...] = (
    Boolean(name="send_direct_marketing_material"),
    Boolean(name="send_affiliate_marketing_material"),
)
UDF = udf(string=16, floating=8, date=8)
PROFILES: tuple[Field, ...] = (
    Object(name="demographics", rows=DEMOGRAPHICS, personal=True),
    Object(name="company_profile", rows=COMPANY_PROFILE, personal=True),
)
PERSONAL = frozenset(
    row.name for row in (*PERSON_NAME, COMPANY_NAME, *PASSIVE, *UDF, *PROFILES) if row.personal
)
