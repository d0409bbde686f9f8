"""``crmledger sessions`` and ``crmledger access-tokens`` as an operator types them."""

from __future__ import annotations

import pytest

from tests.contract.test_authentication_sessions import claims_of
from tests.fixtures.access_tokens import ON, by_pass_code, tokens_client, try_secrets
from tests.fixtures.service import environment, run_in_process
from tests.infra.test_cli_views import run

pytestmark = pytest.mark.slow


async def test_an_operator_s_commands(database: str) -> None:
    variables = environment(database)
    async with run_in_process(database) as service:
        made = await tokens_client(service)
        await made.register_settings(guess_limits={"attempts_per_source": 1})
        name = made.api.organisation
        customer, made.api.token = await made.consumer_session(), await made.api.login()
        session = claims_of(customer.api.token)["jti"]

        status, said = await run(variables, "sessions", "list", name)
        assert status == 0, said
        line = next(line for line in said.splitlines() if session in line)
        assert "demo" in line
        assert customer.account in line

        status, said = await run(variables, "sessions", "release", name, session)
        assert (status, f"released {session}" in said) == (0, True), said
        refused = await customer.api.refused("contact_information/update")
        assert refused[0] == "INVALIDTOKEN"

        status, said = await run(variables, "sessions", "list", name, "--user", "second")
        assert (status, "demo" in said) == (0, False), said
        status, said = await run(variables, "sessions", "release", name, "--user", "demo")
        assert (status, "released the sessions of demo" in said) == (0, True), said
        assert (await made.api.refused("contact_information/update"))[0] == "INVALIDTOKEN"
        made.api.token = await made.api.login()
        for words in (("release", name), ("release", name, session, "--user", "demo")):
            status, said = await run(variables, "sessions", *words)
            assert (status, said) == (1, "crmledger: name a session, or --user\n")

        token = await made.create_keyed_token()
        path, body = "access_tokens/show", {ON: by_pass_code(token)}
        await try_secrets(made.api, path, {ON: by_pass_code(token, "0")})
        assert (await try_secrets(made.api, path, body))[1] > 0
        status, said = await run(variables, "access-tokens", "reset-guesses", name, token["number"])
        assert (status, f"guesses reset {token['number']}" in said) == (0, True), said
        assert await try_secrets(made.api, path, body) == ("OK", 0)

        status, said = await run(variables, "access-tokens", "reset-guesses", "nowhere", "ACT1")
        assert (status, said) == (1, "crmledger: Entity not found: organisation\n")
