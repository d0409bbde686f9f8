"""What demographics, company profiles and the value types accept and keep.

Contract: contact_information.md, sections 3, 4.1 and 4.2; common.md, sections 7 and 8.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures.organisation import CYPRUS, OrganisationClient, company, person, untouched

CREATE = "contact_information/create"
TYPE, VALUE = "INVALIDPARAMETERTYPE", "INVALIDPARAMETERVALUE"
PERSONS, COMPANYS = "demographics", "company_profile"
NOBODY = {"day": None, "month": None, "year": None}
BODIES = {PERSONS: person, COMPANYS: company}


@pytest.mark.parametrize(
    ("profile", "field", "given", "kept"),
    [
        (PERSONS, "gender", " Female ", "FEMALE"),
        (PERSONS, "gender", "", None),
        (PERSONS, "id_number", 123, "123"),
        (PERSONS, "id_number", " 1 ", " 1 "),
        (PERSONS, "social_security_number", "", None),
        (PERSONS, "id_number_expiration_date", "2020-01-31", "2020-01-31T00:00:00"),
        (
            PERSONS,
            "passport_number_expiration_date",
            "2020-01-31 10:11:12.999",
            "2020-01-31T10:11:12",
        ),
        (
            PERSONS,
            "passport_number_expiration_date",
            "2020-07-01T10:00:00Z",
            "2020-07-01T13:00:00",
        ),
        (
            PERSONS,
            "passport_number_expiration_date",
            "2020-01-01T10:00:00+01:00",
            "2020-01-01T11:00:00",
        ),
        (PERSONS, "date_of_birth", {"day": "01", "month": 2, "year": 1990}, (1, 2, 1990)),
        (PERSONS, "date_of_birth", {"day": 29, "month": 2, "year": 2000, "x": 1}, (29, 2, 2000)),
        (PERSONS, "date_of_birth", NOBODY, (None, None, None)),
        (PERSONS, "date_of_birth", None, (None, None, None)),
        (PERSONS, "name_day", {"day": 29, "month": 2}, (29, 2)),
        (PERSONS, "name_day", {}, (None, None)),
        (COMPANYS, "profile_year", "2015", 2015),
        (COMPANYS, "profile_year", 2015.0, 2015),
        (COMPANYS, "annual_turnover", "497.410", 497.41),
        (COMPANYS, "annual_turnover", 10.0, 10),
        (COMPANYS, "number_of_employees", 0, 0),
        (COMPANYS, "established_date", "1999-12-31", "1999-12-31T00:00:00"),
        (COMPANYS, "vat_registration_date", "1999-12-31T01:02:03", "1999-12-31T01:02:03"),
        *((COMPANYS, f"{n}_number", "n", "n") for n in ("registration", "vat_registration")),
        (COMPANYS, "vat_registered_by", "Someone", "Someone"),
        (COMPANYS, "tax_reference_number", "T", "T"),
    ],
)
async def test_keeps(
    shared: OrganisationClient, profile: str, field: str, given: Any, kept: Any
) -> None:
    body = BODIES[profile](**{profile: {field: given}})
    made = await shared.create_contact(body, udf_string_1=field, udf_string_2=str(given))
    full = await shared.show_contact(made["id"])
    assert made[profile] == full[profile]
    found = made[profile][field]
    assert (tuple(found.values()) if isinstance(found, dict) else found) == kept
    assert isinstance(found, bool) is False


COUNTRIES = (
    (PERSONS, "country_of_residence"),
    (PERSONS, "id_issued_by_country"),
    (PERSONS, "passport_issued_by_country"),
    (COMPANYS, "registered_in_country"),
)


@pytest.mark.parametrize(("profile", "field"), COUNTRIES)
@pytest.mark.parametrize(
    "identifier",
    [
        {"id": CYPRUS},
        {"name": " cyprus "},
        {"alternative_code": "cyp"},
        {"two_character_code": "cy"},
        {"three_character_code": "Cyp"},
    ],
    ids=lambda identifier: next(iter(identifier)),
)
async def test_countries(
    shared: OrganisationClient, profile: str, field: str, identifier: dict[str, str]
) -> None:
    made = await shared.create_contact(
        BODIES[profile](**{profile: {f"{field}_identifier": identifier}})
    )
    assert made[profile][field] == {
        "id": CYPRUS,
        "name": "CYPRUS",
        "alternative_code": "CYP",
        "dialing_code": "357",
        "two_character_code": "CY",
        "three_character_code": "CYP",
        "country_flag": None,
    }


@pytest.mark.parametrize("profile", BODIES)
@pytest.mark.parametrize(
    ("field", "identifier"),
    [
        *(("industry", {field: value}) for field, value in (("name", "Retail"), ("code", "RET"))),
        ("industry_sector", {"name": "Food"}),
        ("industry_sector", {"alternative_code": " FD "}),
    ],
)
async def test_industries(
    shared: OrganisationClient, profile: str, field: str, identifier: dict[str, str]
) -> None:
    made = await shared.create_contact(
        BODIES[profile](**{profile: {f"{field}_identifier": identifier}})
    )
    assert made[profile][field]["name"] in ("Retail", "Food")


@pytest.mark.parametrize(
    ("profile", "field", "given", "error", "inside"),
    [
        (PERSONS, "gender", "OTHER", VALUE, ""),
        (PERSONS, "gender", 1, TYPE, ""),
        (PERSONS, "id_number", "x" * 256, VALUE, ""),
        (PERSONS, "id_number", {}, TYPE, ""),
        (PERSONS, "id_number_expiration_date", "31/01/2020", TYPE, ""),
        (PERSONS, "id_number_expiration_date", "2020-02-30", VALUE, ""),
        (PERSONS, "id_number_expiration_date", "2020-01-01T25:00:00", VALUE, ""),
        (PERSONS, "id_number_expiration_date", 20200101, TYPE, ""),
        (PERSONS, "date_of_birth", "1990-01-01", TYPE, ""),
        (PERSONS, "date_of_birth", {"day": 1, "month": 1}, VALUE, ""),
        (PERSONS, "date_of_birth", {"day": 1, "month": 1, "year": None}, VALUE, ""),
        (PERSONS, "date_of_birth", {"day": 30, "month": 2, "year": 1990}, VALUE, ""),
        (PERSONS, "date_of_birth", {"day": 29, "month": 2, "year": 1990}, VALUE, ""),
        (PERSONS, "date_of_birth", {"day": 1, "month": 1, "year": 2999}, VALUE, ""),
        (PERSONS, "date_of_birth", {"day": 1, "month": 1, "year": 0}, VALUE, ""),
        (PERSONS, "date_of_birth", {"day": "a", "month": 1, "year": 1990}, TYPE, ".day"),
        (PERSONS, "date_of_birth", {"day": 1.5, "month": 1, "year": 1990}, TYPE, ".day"),
        (PERSONS, "name_day", {"day": 1}, VALUE, ""),
        (PERSONS, "name_day", {"day": 31, "month": 4}, VALUE, ""),
        (PERSONS, "country_of_residence_identifier", {"id": "0"}, "ENTITYNOTFOUND", ""),
        (PERSONS, "industry_identifier", {"alternative_code": "x"}, "INVALIDIDENTIFIER", ""),
        (PERSONS, "industry_sector_identifier", {"code": "x"}, "INVALIDIDENTIFIER", ""),
        (COMPANYS, "profile_year", 2015.5, TYPE, ""),
        (COMPANYS, "profile_year", True, TYPE, ""),
        (COMPANYS, "number_of_employees", "many", TYPE, ""),
        (COMPANYS, "annual_turnover", "1,5", TYPE, ""),
        (COMPANYS, "annual_turnover", 10**400, None, ""),
        (COMPANYS, "vat_registered_by", "x" * 4001, VALUE, ""),
    ],
)
async def test_refuses(
    shared: OrganisationClient, profile: str, field: str, given: Any, error: str | None, inside: str
) -> None:
    body = BODIES[profile](**{profile: {field: given}})
    async with untouched(shared.api):
        found = await shared.api.refused(CREATE, **body)
    if error is None:
        assert found[0] == "INVALIDREQUEST"
    else:
        assert found == (error, f"{profile}.{field}{inside}")


LANGUAGES = (
    "ARA DAN ENG EST FIN FRA DEU ELL JPN VIE MAL IND TAI LAV LIT NNO POL POR RUS SPA SWE UKR CMN TGL"
    " HIN CUSTOM1 CUSTOM2 CUSTOM3 CUSTOM4 CUSTOM5 CUSTOM6 CUSTOM7 CUSTOM8"
)


async def test_languages(shared: OrganisationClient) -> None:
    contact = await shared.new_contact()
    for language in LANGUAGES.split():
        found = await shared.update_contact(contact, preferred_language=f" {language.lower()} ")
        assert found["preferred_language"] == language


async def test_the_limits_of_texts(shared: OrganisationClient) -> None:
    texts = {
        "first_name": "\N{GRINNING FACE}" * 255,
        "title": "t" * 255,
        "udf_string_1": "u" * 4000,
    }
    phone = {"type": "FAX", "number": "123", "notes": "n" * 65_535}
    made = await shared.create_contact(person(**texts), phone_set=[phone])
    full = await shared.show_contact(made["id"])
    assert {name: full[name] for name in texts} == texts
    assert full["phones_set"][0]["notes"] == phone["notes"]


async def test_texts_that_look_like_places_stay_texts(shared: OrganisationClient) -> None:
    texts = ['{"$ref":"country/127"}', '{"$name":["a","b"]}', '"\\u0022 \\', "\u2028</script>"]
    fields = {f"udf_string_{n}": text for n, text in enumerate(texts, start=1)}
    full = await shared.show_contact(await shared.new_contact(first_name=texts[1], **fields))
    assert [full[name] for name in fields] == texts
    assert full["name"].startswith(texts[1])


async def test_all_user_defined_fields(shared: OrganisationClient) -> None:
    fields: dict[str, Any] = {f"udf_string_{n}": f"s{n}" for n in range(1, 17)}
    fields |= {f"udf_float_{n}": n + 0.25 for n in range(1, 9)}
    fields |= {f"udf_date_{n}": f"2015-01-0{n}T00:00:00" for n in range(1, 9)}
    contact = await shared.new_contact(**fields)
    full = await shared.show_contact(contact)
    assert {name: full[name] for name in fields} == fields
    none = await shared.update_contact(contact, **dict.fromkeys(fields))
    assert {none[name] for name in fields} == {None}


async def test_published_leniencies_of_bodies(shared: OrganisationClient) -> None:
    raw = (
        '{"type":"PERSON","first_name":"A","last_name":"B","udf_string_8":"1","udf_string_8":"9",'
        '"demographics":{"date_of_birth":{"day":01,"month":02,"year":1990,},},"type ":"x",}'
    )
    answer = await shared.api.call("POST", CREATE, raw_body=raw)
    full = await shared.show_contact(answer["data"]["id"])
    assert full["udf_string_8"] == "9"
    assert full["demographics"]["date_of_birth"] == {"day": 1, "month": 2, "year": 1990}
