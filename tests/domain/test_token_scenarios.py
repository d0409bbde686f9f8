"""What happens to access tokens, without a database: contract access_tokens.md, sections 2, 5 and 6."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from domain.access_token import ALIVE, RETIRED, TERMINATED, AccessToken, related_state
from domain.aggregate import Attribution
from domain.errors import InvalidLifeCycleState
from domain.fields import JsonObject
from services import registry  # noqa: F401 (declares the projections)
from services.projections import project
from tests.domain.scenario import ANOTHER, BY, Happened, given, happened
from tests.fixtures.strategies import ZONE

CODES: JsonObject = {"authentication_code": "AC", "identifier": "ID"}
BOTH = {"accounts_receivable": "A1", "rewards_participant": "P1"}


def begun(event: type = AccessToken.Issued, /, **more: Any) -> Happened:
    payload: JsonObject = {
        "number": "ACT0000000001",
        "codes": CODES,
        "secrets": {"pass_code": "K1"},
        "classification": None,
        "relations": {"accounts_receivable": "A1"},
        "details": {},
    }
    return happened(event, **payload | more)


ISSUED = begun()
PENDING = begun(
    AccessToken.IssuedUnverified, secrets={"pass_code": "K1", "verification_code": "V1"}
)
DISABLED = happened(AccessToken.Disabled)
PASSWORD = happened(
    AccessToken.OneTimePasswordGenerated, one_time_password="O1", expires_at="2030-01-01T00:00:00"
)
VERIFIED = happened(AccessToken.Verified, pass_code=None)


def became(fate: str, entity: str = "accounts_receivable") -> Happened:
    return happened(AccessToken.RelatedEntityChanged, entity=entity, fate=fate)


def lost(entity: str = "accounts_receivable") -> Happened:
    return happened(AccessToken.LastRelatedEntityRetired, entity=entity, fate=RETIRED)


def changed(codes: JsonObject, pass_code: str | None = None) -> Happened:
    return happened(AccessToken.CredentialsChanged, codes=codes, pass_code=pass_code)


def follow(entity: str, fate: str, *, loses_effect: bool = True) -> Any:
    return partial(
        AccessToken.track_related_entity,
        entity=entity,
        state=fate,
        by=BY,
        loses_effect=loses_effect,
    )


class TestCodes:
    def test_only_what_differs_is_said(self) -> None:
        said: JsonObject = {"authentication_code": "AC", "identifier": "OTHER"}
        now = given(ISSUED).when(lambda t: t.amend(said, "K2", {}, BY))
        token = now.then(changed({"identifier": "OTHER"}, "K2"), state="EFFECTIVE")
        assert token.codes == CODES | {"identifier": "OTHER"}
        assert token.secrets == {"pass_code": "K2"}

    def test_nothing_new_is_nothing(self) -> None:
        given(ISSUED).when(lambda t: t.amend(dict(CODES), None, {"udf_string_1": None}, BY)).then()

    def test_a_pass_code_alone(self) -> None:
        given(ISSUED).when(lambda t: t.amend({}, "K2", {}, BY)).then(changed({}, "K2"))

    def test_without_identifier_no_pass_code(self) -> None:
        now = given(ISSUED).when(lambda t: t.amend({"identifier": None}, "", {}, BY))
        token = now.then(changed({"identifier": None}, ""))
        assert (token.codes["identifier"], token.secrets) == (None, {})

    def test_new_codes_void_a_one_time_password_and_other_fields_do_not(self) -> None:
        amended = happened(AccessToken.Amended, changes={"udf_string_1": "x"})
        kept = given(ISSUED, PASSWORD).when(lambda t: t.amend({}, None, {"udf_string_1": "x"}, BY))
        assert "one_time_password" in kept.then(amended).secrets
        new: JsonObject = {"authentication_code": "B"}
        void = given(ISSUED, PASSWORD).when(lambda t: t.amend(new, None, {}, BY))
        assert void.then(changed(new)).secrets == {"pass_code": "K1"}

    @pytest.mark.parametrize(
        "history",
        [
            (ISSUED, DISABLED),
            (PENDING,),
        ],
    )
    def test_in_every_state(self, history: tuple[Happened, ...]) -> None:
        given(*history).when(lambda t: t.amend({"identifier": "N"}, None, {}, BY)).then(
            changed({"identifier": "N"}), state=given(*history).aggregate.state
        )


class TestLifeCycle:
    @pytest.mark.parametrize(("hour", "zone"), [(0, "EEST"), (1, "EET")])
    def test_verified_in_the_hour_that_is_repeated(self, hour: int, zone: str) -> None:
        by = Attribution(datetime(2026, 10, 25, hour, 30, 24, tzinfo=UTC))
        token = given(PENDING, happened(AccessToken.Verified, by, pass_code=None)).aggregate
        shown = json.loads(project(token, {}, ZONE).full)
        assert shown["verified_date"] == f"Sun Oct 25 03:30:24 {zone} 2026"

    def test_verified_once(self) -> None:
        token = (
            given(PENDING)
            .when(lambda t: t.raise_event(t.Verified, ANOTHER, pass_code="K2"))
            .then(happened(AccessToken.Verified, pass_code="K2"), state="EFFECTIVE")
        )
        assert (token.verified, token.secrets) == (ANOTHER, {"pass_code": "K2"})
        given(PENDING, VERIFIED).when(
            lambda t: t.raise_event(t.Verified, BY, pass_code=None)
        ).refused(InvalidLifeCycleState)

    def test_disabling_voids_the_one_time_password(self) -> None:
        token = (
            given(ISSUED, PASSWORD)
            .when(lambda t: t.disable(BY))
            .then(DISABLED, state="NOT_EFFECTIVE")
        )
        assert token.secrets == {"pass_code": "K1"}

    def test_only_what_is_effective_is_disabled(self) -> None:
        for history in ((PENDING,), (ISSUED, DISABLED)):
            given(*history).when(lambda t: t.disable(BY)).refused(InvalidLifeCycleState)

    @pytest.mark.parametrize(("fate", "may"), [(ALIVE, False), (TERMINATED, True), (RETIRED, True)])
    def test_a_living_participant_forbids_it(self, fate: str, may: bool) -> None:
        history = [begun(relations=BOTH)]
        history += [became(fate, "rewards_participant")] if fate != ALIVE else []
        asked = given(*history).when(lambda t: t.disable(BY))
        asked.then(DISABLED) if may else asked.refused(InvalidLifeCycleState)

    def test_one_time_passwords_are_no_change_of_the_token(self) -> None:
        used = happened(AccessToken.OneTimePasswordUsed, ANOTHER, one_time_password="O1")
        token = given(ISSUED, PASSWORD, used).aggregate
        assert (token.stamp, token.secrets) == (BY, {"pass_code": "K1"})


class TestRelations:
    def test_what_is_known_already_is_nothing(self) -> None:
        given(ISSUED).when(follow("accounts_receivable", ALIVE)).then()
        gone = (ISSUED, became(TERMINATED))
        given(*gone).when(follow("accounts_receivable", TERMINATED)).then()

    def test_terminated_and_back(self) -> None:
        token = (
            given(ISSUED)
            .when(follow("accounts_receivable", TERMINATED))
            .then(became(TERMINATED), state="EFFECTIVE")
        )
        assert not token.is_associated
        back = given(ISSUED, became(TERMINATED)).when(follow("accounts_receivable", ALIVE))
        assert back.then(became(ALIVE)).is_associated

    def test_the_last_one_retired_ends_the_effect(self) -> None:
        history = (begun(relations=BOTH), PASSWORD)
        given(*history).when(follow("rewards_participant", RETIRED)).then(
            became(RETIRED, "rewards_participant"), state="EFFECTIVE"
        )
        history += (became(RETIRED, "rewards_participant"),)
        token = (
            given(*history)
            .when(follow("accounts_receivable", RETIRED))
            .then(lost(), state="NOT_EFFECTIVE")
        )
        assert token.secrets == {"pass_code": "K1"}

    def test_a_terminated_one_is_not_retired(self) -> None:
        history = (begun(relations=BOTH), became(TERMINATED, "rewards_participant"))
        given(*history).when(follow("accounts_receivable", RETIRED)).then(
            became(RETIRED), state="EFFECTIVE"
        )

    def test_not_where_the_settings_keep_it(self) -> None:
        given(ISSUED).when(follow("accounts_receivable", RETIRED, loses_effect=False)).then(
            became(RETIRED), state="EFFECTIVE"
        )

    @pytest.mark.parametrize("history", [(PENDING,), (ISSUED, DISABLED)])
    def test_only_what_is_effective_loses_its_effect(self, history: tuple[Happened, ...]) -> None:
        before = given(*history).aggregate.state
        given(*history).when(follow("accounts_receivable", RETIRED)).then(
            became(RETIRED), state=before
        )

    def test_what_comes_back_gives_no_effect_back(self) -> None:
        token = (
            given(ISSUED, lost())
            .when(follow("accounts_receivable", ALIVE))
            .then(became(ALIVE), state="NOT_EFFECTIVE")
        )
        assert token.is_associated

    def test_a_token_of_nobody_is_not_associated(self) -> None:
        assert not given(begun(relations={})).aggregate.is_associated


@pytest.mark.parametrize(
    ("state", "retired", "fate"),
    [
        ("ACTIVE", False, ALIVE),
        ("SUSPENDED", False, ALIVE),
        (None, False, ALIVE),
        ("TERMINATED", False, TERMINATED),
        ("ACTIVE", True, RETIRED),
        ("TERMINATED", True, RETIRED),
    ],
)
def test_what_has_become_of_an_entity(state: str | None, retired: bool, fate: str) -> None:
    assert related_state({"life_cycle_state": state}, retired=retired) == fate
