"""Every event says what happened in a sentence (services/audit/event_descriptions.py).

All of them are listed in docs/reference/events.md, which is generated and checked to be current.
"""

from __future__ import annotations

import re
from dataclasses import fields
from string import Formatter

import pytest

from domain.aggregate import EVENTS, Aggregate, DomainEvent
from domain.contact_information import ContactInformation
from domain.reference.records import Record
from services.audit.event_descriptions import TEMPLATES, describe_event, headline, template
from tests.domain.scenario import BY, ID


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_it_reads_well(event: type[DomainEvent]) -> None:
    said = template(event)
    assert re.fullmatch(r"[A-Z][^`_(]*\.", re.sub(r"\{\w+(:\w+)?\}", "X", said)), said
    assert len(said) <= 140
    assert re.fullmatch(r"[A-Z][^`_({]*\.", headline(event))


def test_only_members_of_the_event_stand_in_it() -> None:
    assert TEMPLATES.keys() <= EVENTS.keys()
    for topic, said in TEMPLATES.items():
        members = {name for _, name, _, _ in Formatter().parse(said) if name}
        assert members <= {f.name for f in fields(EVENTS[topic])}, topic
        assert not members & {"secrets", "pass_code", "one_time_password", "verification_code"}


def test_what_members_look_like() -> None:
    record = Record.create(
        Record.Registered,
        BY,
        id=ID,
        kind="contact_category",
        record_id="1_2",
        fields={},
        secrets={},
    )
    assert [describe_event(event) for event in record.collect_events()] == [
        "The contact category 1_2 was registered."
    ]
    said = {
        describe_event(
            ContactInformation.MarketingDecided(ID, 2, BY.at, None, None, "direct", send)
        )
        for send in (True, False, None)
    }
    begin = "The answer about direct marketing material became"
    assert said == {f"{begin} yes.", f"{begin} no.", f"{begin} empty."}


def test_a_event_that_says_nothing_of_itself_says_its_topic() -> None:
    class Silent(Aggregate.Event):
        part: str

    Silent.TOPIC = "service_request.parts_used_up"
    assert headline(Silent) == "Service request parts used up."


def test_asides_and_explanations_are_left_to_the_reference() -> None:
    class Talkative(Aggregate.Event):
        """Codes were changed (null: taken away) or set
        anew; a password is void. More follows."""

    assert headline(Talkative) == "Codes were changed or set anew."
