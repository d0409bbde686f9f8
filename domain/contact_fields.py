"""The fields of a contact and of its sets (contract contact_information.md, sections 3, 4 and 10)."""

from __future__ import annotations

from domain.composite_fields import ItemSet, Object, PartialDate, Reference
from domain.fields import Field
from domain.identifiers import IdentifierFields
from domain.phone_numbers import MAX_NUMBER, area_code, phone_number
from domain.reference.catalogue import identifiable
from domain.reference.fields import LANGUAGES
from domain.scalar_fields import (
    IDENTIFYING,
    NOTES,
    Boolean,
    Date,
    Enumeration,
    Integer,
    Number,
    Text,
    udf,
)

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

ADDRESS_TYPES = ("HOME", "BUSINESS", "POBOX", "CUSTOM1", "CUSTOM2", "CUSTOM3", "CUSTOM4", "CUSTOM5")
PHONE_TYPES = ("LANDLINE", "MOBILE", "FAX", "CUSTOM1", "CUSTOM2", "CUSTOM3", "CUSTOM4", "CUSTOM5")
EMAIL_TYPES = ("PERSONAL", "BUSINESS", "CUSTOM1", "CUSTOM2", "CUSTOM3", "CUSTOM4", "CUSTOM5")
RELATION_TYPES = (
    "FAMILY_MEMBER",
    "EXTENDED_FAMILY",
    "PARTNER",
    "CLOSE_FRIEND",
    "FRIEND",
    "WORK_COLLEAGUE",
    "PARTNER_COMPANY",
    "CLIENT",
    "EMPLOYER",
    "EMPLOYEE",
    "BUSINESS",
    "CUSTOM1",
    "CUSTOM2",
    "CUSTOM3",
    "CUSTOM4",
    "CUSTOM5",
)
COUNTRY, INDUSTRY, SECTOR = map(identifiable, ("country", "industry", "industry_sector"))


def email_address(text: str) -> str | None:
    """``text`` if it is an address: one ``@`` with text on both sides; else None."""
    name, _, host = text.partition("@")
    return text if name.strip() and host.strip() and "@" not in host else None


DEMOGRAPHICS: tuple[Field, ...] = (
    Enumeration(name="gender", allowed=("MALE", "FEMALE")),
    Text(name="id_number", max_length=IDENTIFYING),
    Date(name="id_number_expiration_date", since="R14"),
    Text(name="passport_number", max_length=IDENTIFYING),
    Date(name="passport_number_expiration_date", since="R14"),
    Text(name="social_security_number", max_length=IDENTIFYING),
    PartialDate(name="date_of_birth"),
    PartialDate(name="name_day", parts=("day", "month")),
    Reference(name="country_of_residence", target=COUNTRY),
    Reference(name="id_issued_by_country", target=COUNTRY),
    Reference(name="passport_issued_by_country", target=COUNTRY),
    Reference(name="industry", target=INDUSTRY),
    Reference(name="industry_sector", target=SECTOR),
)
COMPANY_PROFILE: tuple[Field, ...] = (
    Integer(name="profile_year"),
    Number(name="annual_turnover"),
    Date(name="established_date"),
    Integer(name="number_of_employees"),
    Text(name="registration_number", max_length=IDENTIFYING),
    Text(name="vat_registration_number", max_length=IDENTIFYING),
    Text(name="vat_registered_by"),
    Date(name="vat_registration_date"),
    Text(name="tax_reference_number", max_length=IDENTIFYING),
    Reference(name="registered_in_country", target=COUNTRY),
    Reference(name="industry", target=INDUSTRY),
    Reference(name="industry_sector", target=SECTOR),
)
STATE = Text(name="state")
ID = Text(name="id")
ENTRY_UDF = udf(string=8, floating=4, date=4)
ADDRESS: tuple[Field, ...] = (
    Enumeration(name="type", allowed=ADDRESS_TYPES),
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
    Reference(name="country", target=COUNTRY),
    *udf(string=16, floating=4, date=4),
)
PHONE: tuple[Field, ...] = (
    Enumeration(name="type", allowed=PHONE_TYPES),
    Text(name="number", max_length=MAX_NUMBER, is_stripped=True, clean=phone_number),
    Text(name="area_code", max_length=IDENTIFYING, is_stripped=True, clean=area_code),
    Reference(name="country", target=COUNTRY),
    Text(name="notes", max_length=NOTES),
    *ENTRY_UDF,
)
EMAIL: tuple[Field, ...] = (
    Enumeration(name="type", allowed=EMAIL_TYPES),
    Text(name="email_address", max_length=IDENTIFYING, response_name="email", clean=email_address),
    Text(name="notes", max_length=NOTES),
    *ENTRY_UDF,
)
RELATION: tuple[Field, ...] = (
    Enumeration(name="type", allowed=RELATION_TYPES),
    Text(name="notes", max_length=NOTES),
    Reference(
        name="contact_information",
        response_name="contact",
        target=identifiable("contact_information"),
        alias="contact_information",
    ),
)


def _identifier_of(entity: str, types: tuple[str, ...]) -> IdentifierFields:
    return IdentifierFields(entity, ("id", "type"), enumerated={"type": frozenset(types)})


def _names(*names: str) -> frozenset[str]:
    return frozenset(names)


SETS: dict[str, ItemSet] = {
    "address_set": ItemSet(
        name="address_set",
        response_name="addresses_set",
        fields=ADDRESS,
        response_fields=(ID, ADDRESS[0], STATE, *ADDRESS[1:]),
        item_identifier=_identifier_of("address", ADDRESS_TYPES),
        required=_names("type", "street_name"),
        fixed=_names("type"),
        personal=True,
    ),
    "phone_set": ItemSet(
        name="phone_set",
        response_name="phones_set",
        fields=PHONE,
        response_fields=(ID, PHONE[0], STATE, *PHONE[1:3], Text(name="full_number"), *PHONE[3:]),
        item_identifier=_identifier_of("phone", PHONE_TYPES),
        required=_names("type", "number"),
        fixed=_names("type"),
        personal=True,
    ),
    "email_set": ItemSet(
        name="email_set",
        response_name="emails_set",
        fields=EMAIL,
        response_fields=(ID, EMAIL[0], STATE, *EMAIL[1:]),
        item_identifier=_identifier_of("email", EMAIL_TYPES),
        required=_names("type", "email_address"),
        fixed=_names("type"),
        personal=True,
    ),
    "relation_set": ItemSet(
        name="relation_set",
        fields=RELATION,
        response_fields=(ID, *RELATION),
        item_identifier=IdentifierFields("relation", ("id",)),
        required=_names("type", "contact_information"),
        fixed=_names("contact_information"),
        personal=True,
    ),
}
"""The sets of a contact by parameter."""

PERSON_NAME: tuple[Field, ...] = (
    Text(name="title", max_length=IDENTIFYING, personal=True),
    Text(name="first_name", max_length=IDENTIFYING, personal=True),
    Text(name="middle_name", max_length=IDENTIFYING, personal=True),
    Text(name="last_name", max_length=IDENTIFYING, personal=True),
)
COMPANY_NAME = Text(name="company_name", max_length=IDENTIFYING, personal=True)
PASSIVE: tuple[Field, ...] = (
    Enumeration(name="preferred_language", allowed=LANGUAGES, personal=True),
    Reference(name="category", target=identifiable("contact_category")),
    Reference(name="owned_by_group", target=identifiable("group")),
    Reference(name="privacy_level", target=identifiable("privacy_level")),
    Text(name="notes", max_length=NOTES, personal=True),
)
MARKETING: tuple[Field, ...] = (
    Boolean(name="send_direct_marketing_material"),
    Boolean(name="send_affiliate_marketing_material"),
)
UDF = udf(string=16, floating=8, date=8)
PROFILES: tuple[Field, ...] = (
    Object(name="demographics", fields=DEMOGRAPHICS, personal=True),
    Object(name="company_profile", fields=COMPANY_PROFILE, personal=True),
)
PERSONAL = frozenset(
    field.name
    for field in (*PERSON_NAME, COMPANY_NAME, *PASSIVE, *UDF, *PROFILES)
    if field.personal
)
