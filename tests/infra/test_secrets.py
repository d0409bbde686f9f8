"""Verifiers of secrets: what they cost, and that they fit what they were made of."""

from __future__ import annotations

from argon2 import Type, extract_parameters

from infra import password_hasher as module
from infra.password_hasher import SecretHasher
from tests.fixtures.service import PRODUCTION_COST

KEY = "service-key-of-the-tests-0123456789"


def test_a_hash_costs_what_is_advised() -> None:
    assert PRODUCTION_COST.type is Type.ID
    assert (PRODUCTION_COST.time_cost, PRODUCTION_COST.memory_cost) == (2, 19456)


async def test_the_cost_stands_in_the_verifier() -> None:
    secrets = SecretHasher(KEY)
    assert extract_parameters(await secrets.hash("open sesame")) == module.ARGON2_PARAMETERS
    secrets.close()


async def test_a_verifier_fits_its_own_secret_only() -> None:
    secrets = SecretHasher(KEY)
    verifier = await secrets.hash("open sesame")
    assert await secrets.verify(verifier, "open sesame")
    assert not await secrets.verify(verifier, "open sesame ")
    assert not await secrets.verify(None, "open sesame")
    assert not await secrets.verify("no verifier", "open sesame")
    secrets.close()
