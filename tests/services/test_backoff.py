"""Pauses after failures: doubled, bounded, and not the same for all."""

from __future__ import annotations

from services.backoff import Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff(first=5, longest=60, jitter=0)
    assert [backoff.pause(failures) for failures in range(1, 7)] == [5, 10, 20, 40, 60, 60]
    assert backoff.pause(10_000) == 60


def test_jitter_shortens_a_pause_by_up_to_its_share() -> None:
    drawn = [Backoff(first=8, longest=60, jitter=0.25).pause(2) for _ in range(200)]
    assert 12 <= min(drawn) < max(drawn) <= 16


def test_what_the_other_side_asks_for_is_granted_up_to_the_longest() -> None:
    backoff = Backoff(first=5, longest=60)
    assert backoff.pause(1, at_least=30) == 30
    assert backoff.pause(1, at_least=3600) == 60
    assert backoff.pause(10, at_least=1) >= 30
