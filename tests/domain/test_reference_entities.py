"""The tables of reference_entities.md: transcribed here once more, and tried on the demo data."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import infra.demo
from domain.access_token import AUTHENTICATION_CODE, IDENTIFIER
from domain.composite_fields import Object, Reference
from domain.contact_fields import COMPANY_PROFILE, DEMOGRAPHICS, EMAIL, PHONE
from domain.contact_information import PROFILE_NUMBERS
from domain.errors import (
    InvalidParameterType,
    InvalidParameterValue,
    MandatoryParameter,
    ServiceError,
)
from domain.fields import Field, Level, ReadContext
from domain.reference.catalogue import (
    CACHED_SHAPES,
    ENTITIES,
    KINDS,
    REFERRING_TO,
    SECRETS,
    identifiable,
)
from domain.reference.records import RecordKind, RecordLink
from domain.scalar_fields import IDENTIFYING, Boolean, Text

READING = ReadContext(zone=ZoneInfo("Asia/Nicosia"), today=date(2015, 5, 5))
DEMO = Path(infra.demo.__file__).parent
HEX = "0123456789ABCDEF" * 2

# key | identifier fields, unique ones with U | compact object | extra fields (as given)
TABLE = """
accounts_receivable | id U, number U, name | id, number, name, life_cycle_state, account_owner |
rewards_participant | id U, number U | id, number, accounts_receivable | life_cycle_state
subscription_type | | id, name, description, alternative_code |
subscription | id U, number U | id, number, life_cycle_state, first_activated_date, rating_state, \
accounts_receivable, type |
job | id U, number U | id, number, description, life_cycle_state | accounts_receivable_id
lead | id U, number U | id, number, description, life_cycle_state, contact_information |
activity | id U, number U | id, number, description, life_cycle_state, contact_information |
notification | id U, number U | id, number, life_cycle_state, contact_information, \
accounts_receivable |
currency | | id, code, prefix_symbol, suffix_symbol, life_cycle_state, integer_part_name, \
decimal_part_name |
bill | id U, number U | id, number, life_cycle_state, from_date, to_date, due_date, \
total_billed_amount, total_amount_to_be_paid, bill_status, currency |
payment | id U, number U, reference_number | id, number, reference_number, life_cycle_state, \
issued_on, posted_on, payment_amount |
payment_gateway_card | id U, payment_gateway_reference_number U, last_digits | id, \
payment_gateway_reference_number, brand, type, card_holder_name, last_digits, expiration_month, \
expiration_year |
payment_gateway_request | id U, number U | id, number, life_cycle_state, execution_date, \
accounts_receivable, payment, bill |
award_reward_transaction | id U, number U | id, number, life_cycle_state, amount, \
alternative_amount, contribution_percentage, expiration_date, rewards_participant |
spend_reward_transaction | id U, number U | id, number, life_cycle_state, amount, \
alternative_amount, date, rewards_participant, unit |
buy_in_advance_request | id U, number U | id, number, duration, unit_of_time, description, \
life_cycle_state, billing_state, billing_effective_date, subscription |
purchase_customer_event | id U, number U, reference_number | id, number, type, life_cycle_state, \
performed_on, description, reference_number, total_amount, net_amount, vat_amount, \
accounts_receivable, performed_by_unit |
spend_request_customer_event | id U, number U, reference_number | id, number, type, \
life_cycle_state, performed_on, description, reference_number, amount, accounts_receivable, \
performed_by_unit |
product_type | | id, name, description, alternative_code, classification, composition_method, \
service_type, physical_good_type, used_for_provisioning |
product | id U, code U, alternative_code | id, code, alternative_code, description, product_type |
installed_item | id U, serial_number U, alternative_code | id, serial_number, alternative_code, \
state, state_classification, product | under_warranty
warranty_coverage_reason | id U, name, alternative_code | id, name, alternative_code |
community | | | name
group | id U, name, alternative_code | id, name, description, alternative_code, community_name | \
community_id
unit | id U, name, alternative_code | id, name, description, alternative_code, group_name, \
community_name | group_id
user | id U, username U | id, username, person_name, email | unit_ids, default_unit_id, roles
privacy_level | id U, number, name | id, number, name, hierarchy_level |
communication_category | id U, name, code | id, name, description, code | parent_id
communication_template | id U, name U, alternative_code U | | name, alternative_code, description, \
life_cycle_state, direction, media, subject, content, category_id, \
communication_queue_external_system_id, allowed_unit_ids
communication_queue_external_system | id U, name, alternative_code | id, name, alternative_code | \
description, message_character_limit
access_token_classification | id U, name, alternative_code | id, name, alternative_code | \
identifier_creation, identifier_format, identifier_min_length, identifier_min_letters, \
identifier_min_digits, identifier_min_special, pass_code_creation, pass_code_min_length, \
pass_code_min_letters, pass_code_min_digits, pass_code_min_special, authentication_code_creation, \
allow_no_identifier, generate_verification_code, verification_code_length, otp_lifetime_minutes, \
max_per_accounts_receivable, max_per_rewards_participant, not_effective_when_unrelated
contact_category | id U, name, code | id, name, code |
country | id U, name U, alternative_code, two_character_code U, three_character_code U | id, name, \
alternative_code, dialing_code, two_character_code, three_character_code, country_flag |
industry | id U, name, code | id, name, code |
industry_sector | id U, name, alternative_code | id, name, alternative_code |
service_request_type | id U, name U, alternative_code U | id, name, alternative_code, description | \
allowed_status_ids, default_status_ids, allowed_category_ids, default_category_id, \
allowed_response_category_ids, default_response_category_id, \
allowed_temporary_resolution_category_ids, default_temporary_resolution_category_id, \
allowed_final_resolution_category_ids, default_final_resolution_category_id, \
allowed_cancellation_reason_ids, default_cancellation_reason_id, notify_by_email, notify_by_sms, \
default_assigned_to
service_request_status | id U, name U, alternative_code | id, name, alternative_code, description, \
life_cycle_state |
service_request_category | id U, name U, code U | id, name, code, description, classification | \
parent_id
service_request_response_category | id U, name U, code U | id, name, code, description, \
requires_customer_acceptance | parent_id
service_request_temporary_resolution_category | id U, name U, code U | id, name, code, \
description, requires_customer_acceptance | parent_id
service_request_final_resolution_category | id U, name U, code U | id, name, code, description, \
requires_customer_acceptance | parent_id
service_request_cancellation_reason | id U, name, alternative_code | id, name, alternative_code, \
description |
service_request_priority | | | urgency_level, impact_level, priority_level
organisation | id U, name U | | name, name_display, default_country_id, default_language, \
unique_person, \
unique_company, email_server_enabled, sms_server_enabled, default_email_address, \
default_sms_sender, content_limits, access_token_definition, consumer_username, guess_limits, notice_limit_per_hour, \
email_server, sms_server
web_api_key | | | number, classification, user_id
webhook | | | name, description, url, entities, topics, life_cycle_state
"""
"""The last one is an extension of ours, not of the contract."""

Columns = tuple[list[str], list[str], list[str]]


def _transcribed() -> dict[str, Columns]:
    found: dict[str, Columns] = {}
    for line in TABLE.strip().splitlines():
        key, *columns = (cell.strip() for cell in line.split("|"))
        identified, compact, extra = (
            [word.strip() for word in cell.split(",") if word.strip()] for cell in columns
        )
        found[key] = (identified or ["id U"], compact, extra)
    return found


CONTRACT = _transcribed()

NOT_DIRECTORY = """
accounts_receivable rewards_participant subscription job lead activity notification bill payment
payment_gateway_card payment_gateway_request award_reward_transaction spend_reward_transaction
buy_in_advance_request purchase_customer_event spend_request_customer_event product installed_item
"""

MANDATORY = {
    "country": ["name"],
    "organisation": ["name"],
    "product": ["product_type_id"],
    "service_request_priority": ["urgency_level", "impact_level", "priority_level"],
    "service_request_status": ["life_cycle_state"],
    "unit": ["group_id"],
    "user": ["username", "default_unit_id"],
    "web_api_key": ["classification", "user_id"],
    "webhook": ["url"],
}

GUESS_LIMITS = {
    "attempts_per_source": 5,
    "attempts_per_token": 20,
    "attempts_per_spray": 50,
    "first_wait_seconds": 30,
    "longest_wait_seconds": 900,
}
"""An extension of ours, not of the contract."""

DEFINITION = {
    "identifier_creation": "NONE",
    "identifier_format": "FREE_TEXT",
    "identifier_min_length": 1,
    "identifier_min_letters": 0,
    "identifier_min_digits": 0,
    "identifier_min_special": 0,
    "pass_code_creation": "NONE",
    "pass_code_min_length": 1,
    "pass_code_min_letters": 0,
    "pass_code_min_digits": 0,
    "pass_code_min_special": 0,
    "authentication_code_creation": "AUTOMATIC",
    "allow_no_identifier": False,
    "generate_verification_code": False,
    "verification_code_length": 7,
    "otp_lifetime_minutes": 10,
    "max_per_accounts_receivable": None,
    "max_per_rewards_participant": None,
    "not_effective_when_unrelated": True,
}


def _with_ids(value: Any) -> Any:
    """The value with every ``@alias`` replaced by an id."""
    if isinstance(value, dict):
        return {key: _with_ids(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_with_ids(member) for member in value]
    return HEX if isinstance(value, str) and value.startswith("@") else value


def _records() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(DEMO.glob("*.jsonl")):
        for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
            record = _with_ids(json.loads(line))
            if "kind" in record:
                yield f"{file.name}:{number}", record


def _given(rows: tuple[Field, ...], kept: dict[str, Any]) -> dict[str, Any]:
    """A kept record as it would be registered again."""
    return {
        row.parameter: _given(row.fields, kept[row.name])
        if isinstance(row, Object) and kept[row.name]
        else kept[row.name]
        for row in rows
    }


def _links(rows: tuple[Field, ...]) -> Iterator[RecordLink]:
    for row in rows:
        if isinstance(row, RecordLink):
            yield row
        elif isinstance(row, Object):
            yield from _links(row.fields)


def _least(kind: RecordKind) -> dict[str, Any]:
    """A record with nothing but what must be given."""
    samples = {
        "classification": "SYSTEMIC_KEY",
        "life_cycle_state": "PENDING",
        "urgency_level": "URGENCY1",
        "impact_level": "IMPACT1",
        "priority_level": "PRIORITY1",
        "url": "https://example.org/told",
    }
    return {name: samples.get(name, HEX) for name in MANDATORY.get(kind.key, [])}


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def test_kinds_are_those_of_the_contract() -> None:
    assert list(KINDS) == list(CONTRACT)
    assert all(key == kind.key for key, kind in KINDS.items())
    assert {key for key, kind in KINDS.items() if not kind.cached} == set(NOT_DIRECTORY.split())


@every_kind
def test_identifier_fields(kind: RecordKind) -> None:
    identified, _, _ = CONTRACT[kind.key]
    unique = {"id", *kind.unique_fields}
    names = kind.identifiable.fields
    assert [f"{name} U" if name in unique else name for name in names] == identified
    held = {row.name for row in kind.fields}
    assert {name for name in kind.identifiable.fields if name != "id"} <= held


@every_kind
def test_compact_object(kind: RecordKind) -> None:
    _, compact, _ = CONTRACT[kind.key]
    assert [row.key for row in kind.shape.fields] == compact
    assert kind.shape.schema()["required"] == compact
    held = {row.name for row in kind.fields}
    assert set(compact) - {"id"} - set(kind.derived) <= held
    assert set(kind.derived) <= set(compact) - held


@every_kind
def test_record_holds_what_is_shown_and_the_extra_fields(kind: RecordKind) -> None:
    identified, compact, extra = CONTRACT[kind.key]
    shown = {name.removesuffix(" U") for name in [*identified, *compact]}
    links = {row.name: row.parameter for row in kind.fields if isinstance(row, RecordLink)}
    assert {row.parameter for row in kind.fields} == (
        {links.get(name, name) for name in shown - {"id"} - set(kind.derived)} | set(extra)
    )
    assert len({row.parameter for row in kind.fields}) == len(kind.fields)


@every_kind
def test_links_name_kinds(kind: RecordKind) -> None:
    for link in _links(kind.fields):
        assert link.target_kind in KINDS or link.target_kind == "contact_information"


@every_kind
def test_derived_keys_follow_links(kind: RecordKind) -> None:
    for path in kind.derived.values():
        *steps, last = path
        at = kind
        for step in steps:
            (link,) = (row for row in at.fields if row.name == step)
            assert isinstance(link, RecordLink)
            at = KINDS[link.target_kind]
        assert last in {row.name for row in at.fields}


def referred(rows: Iterable[Field]) -> Iterator[str]:
    for row in rows:
        if isinstance(row, Reference):
            yield row.schema_name
        elif isinstance(row, Object):
            yield from referred(row.fields)


@pytest.mark.parametrize("name", CACHED_SHAPES)
def test_the_set_up_shows_nothing_but_set_up(name: str) -> None:
    """So the directory can fill its own objects, once for all calls."""
    _, shape = CACHED_SHAPES[name]
    assert set(referred(shape.fields)) <= CACHED_SHAPES.keys()


@every_kind
def test_mandatory_fields(kind: RecordKind) -> None:
    required = [row.parameter for row, rule in kind.parameters if rule is Level.MANDATORY]
    assert required == MANDATORY.get(kind.key, [])
    for name in required:
        with pytest.raises(MandatoryParameter) as refused:
            kind.read(_least(kind) | {name: None}, READING)
        assert refused.value.description == name


@every_kind
def test_unknown_field_is_refused_by_name(kind: RecordKind) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        kind.read(_least(kind) | {"no_such_field": 1}, READING)
    assert refused.value.description == "no_such_field"


@every_kind
def test_absent_and_null_are_the_same(kind: RecordKind) -> None:
    least = _least(kind)
    nulls = {row.parameter: None for row in kind.fields} | least
    assert kind.read(nulls, READING) == kind.read(least, READING)


@every_kind
def test_defaults_are_valid_and_flags_and_sets_are_never_null(kind: RecordKind) -> None:
    kept = kind.read(_least(kind), READING)
    assert kind.read(_given(kind.fields, kept), READING) == kept
    assert set(kind.defaults) <= set(kept)
    for row in kind.fields:
        if isinstance(row, Boolean) or (isinstance(row, RecordLink) and row.many):
            assert kept[row.name] is not None


def test_every_kind_occurs_in_the_demo_data() -> None:
    # A demo that calls somebody up would be no demo.
    assert {record["kind"] for _, record in _records()} == set(KINDS) - {"webhook"}


def test_demo_records_are_accepted_and_read_the_same_again() -> None:
    refused = []
    for where, record in _records():
        kind = KINDS[record["kind"]]
        try:
            kept = kind.read(record, READING)
        except ServiceError as error:
            refused.append((where, error.code, error.description))
            continue
        again = _given(kind.fields, kept)
        assert kind.read(again, READING) == kept, where
        assert json.loads(json.dumps(kept)) == kept, where
        for name in record.keys() - {"kind", "id", "retired"}:
            if not isinstance(record[name], dict):
                assert again[name] == record[name], (where, name)
    assert refused == []


def test_demo_links_lead_to_records() -> None:
    known = {(record["kind"], record["id"]) for _, record in _records()}
    for where, record in _records():
        kind = KINDS[record["kind"]]
        for link, target in kind.links(kind.read(record, READING)):
            assert (
                link.target_kind == "contact_information" or (link.target_kind, target) in known
            ), where


def test_organisation_defaults() -> None:
    assert KINDS["organisation"].read({"name": "CRMDEMO"}, READING) == {
        "name": "CRMDEMO",
        "name_display": "FIRST_LAST",
        "default_country_id": "127",
        "default_language": "ENG",
        "unique_person": ["name", "id_number"],
        "unique_company": ["name", "vat_registration_number"],
        "email_server_enabled": True,
        "sms_server_enabled": True,
        "default_email_address": None,
        "default_sms_sender": None,
        "content_limits": None,
        "access_token_definition": DEFINITION,
        "consumer_username": None,
        "guess_limits": GUESS_LIMITS,
        "notice_limit_per_hour": 10,
        "email_server": None,
        "sms_server": None,
    }


def test_other_defaults() -> None:
    user = KINDS["user"].read({"username": "demo", "default_unit_id": HEX}, READING)
    assert (user["unit"], user["roles"]) == ([], ["service"])
    assert KINDS["communication_template"].read({}, READING)["direction"] == "OUTGOING"
    assert KINDS["installed_item"].read({}, READING)["under_warranty"] is False
    classification = KINDS["access_token_classification"].read({}, READING)
    assert classification == {"name": None, "alternative_code": None} | DEFINITION


def test_partial_definition_is_completed() -> None:
    given = {"access_token_definition": {"otp_lifetime_minutes": 5}}
    kept = KINDS["organisation"].read({"name": "A"} | given, READING)
    assert kept["access_token_definition"] == DEFINITION | {"otp_lifetime_minutes": 5}


def test_words_are_a_set_in_the_order_of_the_list() -> None:
    record = {"username": "a", "default_unit_id": "1"}
    user = KINDS["user"]
    kept = user.read(record | {"roles": ["Analyst", "service", "analyst"]}, READING)
    assert kept["roles"] == ["service", "analyst"]
    assert user.read(record | {"roles": []}, READING)["roles"] == []
    with pytest.raises(InvalidParameterValue) as refused:
        user.read(record | {"roles": ["service", "owner"]}, READING)
    assert refused.value.description == "roles[1]"
    with pytest.raises(InvalidParameterType):
        user.read(record | {"roles": "service"}, READING)
    rule = {"name": "A", "unique_person": ["ID NUMBER", "name"]}
    assert KINDS["organisation"].read(rule, READING)["unique_person"] == ["name", "id_number"]


def test_embedded_objects() -> None:
    kind = KINDS["service_request_type"]
    rows = {row.name: row for row in kind.fields}
    kept = kind.read({"default_assigned_to": {"unit_id": HEX.lower()}}, READING)
    assert kept["default_assigned_to"] == {"unit": HEX, "user": None}
    nothing = {"default_assigned_to": {"unit_id": None}, "default_status_ids": {}}
    assert kind.read(nothing, READING) == kind.read({}, READING)
    assert [
        (link.name, target)
        for link, target in kind.links(
            kind.read({"default_status_ids": {"PENDING": "1", "CANCELLED": "2"}}, READING)
        )
    ] == [("PENDING", "1"), ("CANCELLED", "2")]
    with pytest.raises(InvalidParameterValue) as refused:
        kind.read({"default_status_ids": {"OPEN": "1"}}, READING)
    assert refused.value.description == "default_status_ids.OPEN"
    with pytest.raises(InvalidParameterType):
        kind.read({"default_assigned_to": [HEX]}, READING)
    assert rows["default_assigned_to"].to_response(None, READING.zone) is None


def test_country_flag_is_echoed_or_null() -> None:
    kind = KINDS["country"]
    flag = {
        "id": "1",
        "file": {
            "file_name": "cy.png",
            "file_content_url": "https://pictures.example/cy.png",
            "file_mime_type": "image/png",
        },
    }
    bare = kind.read({"name": "CYPRUS"}, READING)
    assert kind.shape.render(bare, READING.zone)["country_flag"] is None
    kept = kind.read({"name": "CYPRUS", "country_flag": flag}, READING)
    assert kind.shape.render(kept, READING.zone)["country_flag"] == flag
    kept = kind.read({"name": "CYPRUS", "country_flag": {"id": "1"}}, READING)
    assert kind.shape.render(kept, READING.zone)["country_flag"] == {"id": "1", "file": None}


def test_dialing_code_is_digits_only() -> None:
    kind = KINDS["country"]
    assert kind.read({"name": "CYPRUS", "dialing_code": 357}, READING)["dialing_code"] == "357"
    for wrong in ("+357", "00-357", "٣"):
        with pytest.raises(InvalidParameterValue):
            kind.read({"name": "CYPRUS", "dialing_code": wrong}, READING)


def test_enumerations_are_normalised_like_those_of_calls() -> None:
    template = KINDS["communication_template"].read({"media": "f2f"}, READING)
    assert template["media"] == "FACE_TO_FACE"
    status = KINDS["service_request_status"].read({"life_cycle_state": "final resolved"}, READING)
    assert status["life_cycle_state"] == "FINAL_RESOLVED"
    with pytest.raises(InvalidParameterValue):
        KINDS["accounts_receivable"].read({"life_cycle_state": "OPEN"}, READING)
    assert KINDS["lead"].read({"life_cycle_state": "Won"}, READING)["life_cycle_state"] == "Won"


def test_usernames_and_country_fields_ignore_case() -> None:
    assert KINDS["user"].identifying_values({"username": "Demo"}, "1")["username"] == "demo"
    country = KINDS["country"]
    assert set(country.identifiable.fields) == country.identifiable.case_insensitive
    found = country.identifiable.read({"two_character_code": "cY"}, "at", textual=False)
    kept = country.read({"name": "CYPRUS", "two_character_code": "CY"}, READING)
    assert country.identifying_values(kept, "181")["two_character_code"] == found.value
    others = set(KINDS) - {"user", "country"}
    assert not any(KINDS[key].identifiable.case_insensitive for key in others)


def test_secrets_are_taken_but_never_kept() -> None:
    assert {key: kind.secrets for key, kind in KINDS.items() if kind.secrets} == {
        "user": ("password",),
        "organisation": ("email_server_password", "sms_server_secret"),
        "web_api_key": ("key",),
        "webhook": ("secret",),
    }
    sealed = {key: kind.encrypted for key, kind in KINDS.items() if kind.encrypted}
    assert sealed == {key: set(KINDS[key].secrets) for key in ("organisation", "webhook")}
    assert [key for key, kind in KINDS.items() if kind.generated] == ["webhook"]
    record = {"classification": "SYSTEMIC_KEY", "user_id": "1", "key": HEX}
    assert HEX not in KINDS["web_api_key"].read(record, READING).values()
    assert SECRETS["key"].read(HEX, "key", READING) == HEX
    for wrong in (HEX[1:], "G" + HEX[1:], HEX + "\n0"):
        with pytest.raises(InvalidParameterValue):
            SECRETS["key"].read(wrong, "key", READING)
    signing = "whsec_" + b64encode(b"x" * 24).decode()
    assert SECRETS["secret"].read(f" {signing} ", "secret", READING) == signing
    shorter, longer = (b64encode(b"x" * size).decode() for size in (23, 65))
    for wrong in (signing[6:], "whsec_", f"whsec_{shorter}", f"whsec_{longer}", signing + "*"):
        with pytest.raises(InvalidParameterValue):
            SECRETS["secret"].read(wrong, "secret", READING)
    assert set(SECRETS) == {name for kind in KINDS.values() for name in kind.secrets}
    assert {key: kind.globally_unique for key, kind in KINDS.items() if kind.globally_unique} == {
        "organisation": "name",
        "web_api_key": "key",
    }


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "https://a.example:8443/x?y=1",
        "http://[2001:db8::1]/",
        "https://10.0.0.1/",
    ],
)
def test_webhooks_go_to_addresses_of_the_web(url: str) -> None:
    assert KINDS["webhook"].read({"url": f" {url} "}, READING)["url"] == url


@pytest.mark.parametrize(
    "url",
    [
        "a.example",
        "ftp://a.example",
        "https://",
        "https:///x",
        "https://user:secret@a.example/",
        "https://a.example/#x",
        "https://a.example:0/",
        "https://a.example:99999/",
        "https://a b.example/",
        "https://[::1/",
        "https://\u00e9.example/",
    ],
)
def test_and_to_no_others(url: str) -> None:
    with pytest.raises(InvalidParameterValue) as refused:
        KINDS["webhook"].read({"url": url}, READING)
    assert refused.value.description == "url"


def test_webhooks_choose_from_what_there_is() -> None:
    given = {
        "url": "https://a.example",
        "entities": ["unit", "communication"],
        "topics": ["record.retired", "Communication.Completed"],
    }
    kept = KINDS["webhook"].read(given, READING)
    assert kept["entities"] == ["communication", "unit"]
    assert kept["topics"] == ["communication.completed", "record.retired"]
    for name, wrong in (("entities", "record"), ("entities", "access"), ("topics", "access.read")):
        with pytest.raises(InvalidParameterValue) as refused:
            KINDS["webhook"].read(given | {name: [wrong]}, READING)
        assert refused.value.description == f"{name}[0]"


def test_entities() -> None:
    assert set(ENTITIES) - set(KINDS) == {
        "contact_information",
        "communication",
        "communication_queue",
        "access_token",
        "service_request",
    }
    assert all(name == one.entity for name, one in ENTITIES.items())
    assert identifiable("access_token").fields == ("authentication_code", "identifier")
    assert identifiable("communication_queue").fields == ("id", "number")
    assert set(identifiable("contact_information").fields) == {
        "id",
        "number",
        "id_number",
        "passport_number",
        "social_security_number",
        "vat_registration_number",
        "registration_number",
    }
    with pytest.raises(KeyError):
        identifiable("business_unit")


def test_referring_to_names_entities() -> None:
    assert len(REFERRING_TO) == len(set(REFERRING_TO)) == 19
    assert set(REFERRING_TO) <= set(ENTITIES)
    assert {"communication", "access_token", "service_request"} == set(REFERRING_TO) - set(KINDS)
    assert all(KINDS[name].compact for name in REFERRING_TO if name in KINDS)


def test_what_identifies_fits_into_an_index() -> None:
    """common.md, section 7: 255 characters, which are at most 1,020 bytes; an index takes 2,704."""
    records = [
        (f"{kind.key}.{field.name}", field.max_length)
        for kind in KINDS.values()
        for field in kind.fields
        if isinstance(field, Text) and field.name in kind.identifiable.fields
    ]
    searched = {*_contact_names("PERSON"), *_contact_names("COMPANY"), "email_address", "area_code"}
    contacts = [
        (field.name, field.max_length)
        for field in (*DEMOGRAPHICS, *COMPANY_PROFILE, *EMAIL, *PHONE)
        if isinstance(field, Text) and field.name in searched
    ]
    tokens = [(field.name, field.max_length) for field in (AUTHENTICATION_CODE, IDENTIFIER)]
    assert len(records) > 30
    assert len(contacts) == 7
    assert {longest for _, longest in (*records, *contacts, *tokens)} == {255}


def _contact_names(type_: str) -> tuple[str, ...]:
    return (*PROFILE_NUMBERS[type_][1], "registration_number")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_identifies_a_record_is_short(kind: RecordKind) -> None:
    """Longer values would not fit into an index of PostgreSQL."""
    identifying = {*kind.identifiable.fields, *kind.unique_together, kind.globally_unique}
    for field in kind.fields:
        if field.name in identifying and isinstance(field, Text):
            assert field.max_length <= IDENTIFYING
