"""Rotation of the secrets while the service runs: each step of the guide, under traffic (docs/operations.md)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from domain.errors import InvalidToken
from infra.audit.seal_builder import seal_next
from infra.audit.sealer import signer_of
from infra.diagnostics.ledger import secrets as check_secrets
from infra.diagnostics.runner import CheckResult
from infra.encryption import DerivedKeys, KeyRing, key_id
from infra.http.operators.sessions import OPERATOR
from infra.password_hasher import SecretHasher
from infra.rebuild.verify import verify
from infra.settings import Settings
from infra.store import key_rotation
from infra.store.key_rotation import Rewrapper, count_key_uses
from services.ids import format_id
from services.pipeline.session_tokens import Tokens
from services.reference.registrar import Registrar
from tests.fixtures.access_tokens import TokensClient, basic, tokens_client
from tests.fixtures.read_models import connection, keys_of
from tests.fixtures.service import Api, Service, environment, run_in_process
from tests.infra.test_cli_views import run as typed
from tests.operations.test_check import found

NAMES = ("TOKEN_SECRET", "SERVICE_KEY", "OPERATOR_KEY")
OLD = {name: environment("")[f"CRMLEDGER_{name}"] for name in NAMES}
NEW = {name: f"the-next-{name.lower()}-of-the-tests-0123456789" for name in NAMES}
KEY, SIGNING = uuid4().hex.upper(), "whsec_" + "A" * 32
"""A web API key, and what a webhook is signed with."""


def secrets_of(current: dict[str, str], *fallbacks: dict[str, str]) -> dict[str, str]:
    """The variables of a process that signs and encrypts with some secrets and accepts others, too."""
    variables = {f"CRMLEDGER_{name}": secret for name, secret in current.items()}
    for name in NAMES:
        others = ",".join(secrets[name] for secrets in fallbacks)
        variables[f"CRMLEDGER_{name}_FALLBACKS"] = others
    return variables


BEFORE = secrets_of(OLD)
ANNOUNCED = secrets_of(OLD, NEW)
SWAPPED = secrets_of(NEW, OLD)
AFTER = secrets_of(NEW)


async def rewrap(
    url: str, variables: dict[str, str], advance: Callable[[int], None] = lambda _: None
) -> tuple[int, int]:
    """Rewrap everything; return how much was to be done, and how much could not be."""
    service_keys = Settings.from_environment(environment(url, **variables)).service_keys
    async with connection(url) as owner:
        rewrapper = Rewrapper(owner, *service_keys)
        try:
            return await rewrapper.count(), await rewrapper.run(None, advance)
        finally:
            rewrapper.close()


async def checked(url: str, variables: dict[str, str]) -> CheckResult:
    """What the self-test says of the secrets."""
    report = (await found(url, check_secrets, **variables))["secrets"]
    return CheckResult(report.verdict, report.message)


@dataclass
class Traffic:
    """Clients that do, on whichever process, what depends on each of the secrets; nothing may be refused."""

    client: RotationClient
    processes: list[Service]
    rounds: list[int] = field(default_factory=lambda: [0, 0])
    stopped: bool = False

    async def run(self, number: int) -> None:
        while not self.stopped:
            await self.walk(count(self.rounds[number]))
            self.rounds[number] += 1

    async def walk(self, turns: Iterator[int]) -> None:
        """Write and read personal data, repeat a call, show secrets: each on the next process."""

        def turn() -> RotationClient:
            process = self.processes[next(turns) % len(self.processes)]
            return replace(self.client, api=replace(self.client.api, service=process))

        headers = {"Idempotency-Key": uuid4().hex}
        numbers = {"id_number": uuid4().hex}
        body = {"type": "PERSON", "first_name": "Ada", "last_name": "B", "demographics": numbers}
        create = "POST", "contact_information/create"
        answers = [await turn().api.call(*create, body=body, headers=headers) for _ in range(2)]
        assert answers[0] == answers[1]
        assert answers[0]["status"]["code"] == "OK", answers
        await turn().update_contact(answers[0]["data"]["id"], notes="again")
        account = {"id": self.client.account}
        token = await turn().create_keyed_token(accounts_receivable_identifier=account)
        for named in ({}, {"identifier": token["identifier"]}):
            password = await turn().one_time_password(token)
            assert await turn().add_reference({"one_time_password": password} | named) == "OK"
        await turn().api.login()
        assert await log_in_by_key(turn().api) == "OK"

    async def next_rounds(self) -> None:
        """Wait until each client has begun and ended a round from now on."""
        wanted = [rounds + 3 for rounds in self.rounds]
        while any(a < b for a, b in zip(self.rounds, wanted, strict=True)) and not self.stopped:
            await asyncio.sleep(0.01)


async def log_in_by_key(api: Api, key: str = KEY) -> str:
    """The code with which a web API key is answered."""
    answer = await api.open("authentication/web_api_key/token", {}, basic(key))
    return str(answer["status"]["code"])


@asynccontextmanager
async def under_traffic(traffic: Traffic) -> AsyncIterator[None]:
    """Clients that run until the end of the block, and end it if they fail."""
    async with asyncio.TaskGroup() as group:
        for number in range(len(traffic.rounds)):
            group.create_task(traffic.run(number))
        yield
        traffic.stopped = True


@dataclass
class Fleet:
    """Two processes of the service; each can be replaced by one with other secrets."""

    url: str
    members: list[tuple[AsyncExitStack, Service]] = field(default_factory=list)

    async def start(self, variables: dict[str, str]) -> None:
        stack = AsyncExitStack()
        service = await stack.enter_async_context(run_in_process(self.url, **variables))
        self.members.append((stack, service))

    async def roll(self, variables: dict[str, str], traffic: Traffic) -> None:
        """Replace one process after the other; calls go to the old and the new one meanwhile."""
        for _ in range(len(self.members)):
            await self.start(variables)
            traffic.processes[:] = [service for _, service in self.members[1:]]
            await traffic.next_rounds()
            await self.members.pop(0)[0].aclose()

    async def close(self) -> None:
        for stack, _ in self.members:
            await stack.aclose()


@pytest_asyncio.fixture
async def fleet(database: str) -> AsyncIterator[Fleet]:
    made = Fleet(database)
    for _ in range(2):
        await made.start(BEFORE)
    yield made
    await made.close()


@dataclass
class RotationClient(TokensClient):
    """An organisation with secrets of every kind, and an account."""

    account: str = ""


async def populate(service: Service) -> RotationClient:
    made = await tokens_client(service)
    client = RotationClient(made.api, made.contacts, made.key)
    client.account = await client.register_account(account_owner_id=client.recipient)
    await client.register("webhook", "W", url="https://example.org/hook", secret=SIGNING)
    await client.register("web_api_key", "K", classification="SYSTEMIC_KEY", user_id="1", key=KEY)
    await client.api.login()
    return client


async def test_a_whole_rotation_under_traffic(fleet: Fleet) -> None:
    client = await populate(fleet.members[0][1])
    traffic = Traffic(client, [service for _, service in fleet.members])
    async with under_traffic(traffic):
        await traffic.next_rounds()
        await fleet.roll(ANNOUNCED, traffic)
        await fleet.roll(SWAPPED, traffic)
        client.api.token = await replace(client.api, service=fleet.members[0][1]).login()
        before = await checked(fleet.url, SWAPPED)
        assert before.verdict == "warning", before
        for item in ("personal keys", "secrets", "web API keys", "stored responses"):
            assert item in before.message
        todo, lost = await rewrap(fleet.url, SWAPPED)
        assert (todo > 0, lost) == (True, 0)
        await traffic.next_rounds()
        assert await rewrap(fleet.url, SWAPPED) == (0, 0)
        assert await checked(fleet.url, SWAPPED) == CheckResult(
            "ok", "the service key decrypts what is stored; no fallback is needed"
        )
        await fleet.roll(AFTER, traffic)
        await traffic.next_rounds()
    assert (await checked(fleet.url, AFTER)).verdict == "ok"
    await check_after(fleet.members[0][1], client)


async def check_after(service: Service, client: RotationClient) -> None:
    """What was made before the rotation is good after it, with the new secrets alone."""
    ring, hasher = KeyRing(NEW["SERVICE_KEY"]), SecretHasher(NEW["SERVICE_KEY"])
    _, zone = keys_of(service.database)
    report = await verify(service.database, ring, zone)
    assert report.differences == []
    organisation = client.api.organisation
    async with connection(service.database) as owner:
        verifier = await owner.fetchval(
            "SELECT verifier FROM ledger.secrets WHERE owner = 'webhook/W'"
        )
    assert hasher.decrypt(verifier, f"{organisation}/webhook/W/secret") == SIGNING
    hasher.close()
    for secrets, status in ((OLD, 401), (NEW, 200)):
        answer = await service.send(
            "GET",
            f"{OPERATOR}sessions",
            query={"organisation": organisation},
            headers={"Authorization": f"Bearer {secrets['OPERATOR_KEY']}"},
        )
        assert answer[0] == status


@pytest.mark.parametrize("secrets", [OLD, NEW], ids=["current", "fallback"])
async def test_each_operator_key_opens(database: str, secrets: dict[str, str]) -> None:
    headers = {"Authorization": f"Bearer {secrets['OPERATOR_KEY']}"}
    async with run_in_process(database, **ANNOUNCED) as service:
        for path in (f"{OPERATOR}sessions", f"{OPERATOR}webhooks", "/reference/v1/organisation"):
            status, _, _ = await service.send("GET", path, headers=headers)
            assert status == 400, path
        joined = {"Authorization": f"Bearer {OLD['OPERATOR_KEY']},{NEW['OPERATOR_KEY']}"}
        for wrong in (joined, {"Authorization": "Bearer "}, {}):
            assert (await service.send("GET", f"{OPERATOR}sessions", headers=wrong))[0] == 401


def test_a_token_is_verified_with_each_secret_and_signed_with_the_first() -> None:
    first, second, third = (f"token-secret-{n}-0123456789-0123456789" for n in range(3))
    now, session = datetime(2026, 12, 1, tzinfo=UTC), format_id(uuid4())
    token = Tokens(second, third).issue(session, "u", "ORG", "U", now)
    for accepted in (Tokens(second), Tokens(first, second), Tokens(first, third, second)):
        assert accepted.verify(token).session == session
    for refusing in (Tokens(third), Tokens(first, third)):
        with pytest.raises(InvalidToken):
            refusing.verify(token)


def test_what_is_encrypted_is_read_with_each_key_and_for_its_place_only() -> None:
    old, new, both = (DerivedKeys("p", *keys) for keys in (("a",), ("b",), ("b", "a")))
    box = old.encrypt(b"text", "place")
    assert both.decrypt(box, "place") == b"text"
    renewed = both.renew(box, "place")
    assert new.decrypt(renewed, "place") == b"text"
    swapped = renewed[:1] + box[1:9] + renewed[9:]
    for keys, wrong, place in (
        (new, box, "place"),
        (both, box, "another"),
        (both, swapped, "place"),
        (both, box[:8], "place"),
        (both, b"", "place"),
        (both, b"\x02" + box[1:], "place"),
    ):
        with pytest.raises(ValueError, match="cannot be opened"):
            keys.decrypt(wrong, place)


def test_a_keyed_hash_passes_to_another_key_without_the_secret() -> None:
    old, new, both = (DerivedKeys("p", *keys) for keys in (("a",), ("b",), ("b", "a")))
    [mac] = old.hashes("secret")
    assert both.renew_hash(mac) == both.hashes("secret") == [*new.hashes("secret"), mac]
    assert new.hashes("secret") != new.hashes("Secret")
    for wrong in ("", "x", f"{key_id('a')}:", f"{key_id('a')}:00", f"{key_id('b')}:{mac[17:]}"):
        with pytest.raises(ValueError, match=r"hash|hexadecimal"):
            both.renew_hash(wrong)


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_rotation, "BATCH", 1)


@pytest.mark.usefixtures("one_by_one")
async def test_an_interrupted_rewrapping_is_continued(fleet: Fleet) -> None:
    await populate(fleet.members[0][1])
    done: list[int] = []

    def interrupt(count: int) -> None:
        done.append(count)
        if len(done) == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        await rewrap(fleet.url, SWAPPED, interrupt)
    assert len(await uses(fleet.url)) == 2
    left, lost = await rewrap(fleet.url, SWAPPED)
    assert (left > 0, lost) == (True, 0)
    assert await uses(fleet.url) == {key_id(NEW["SERVICE_KEY"])}


async def uses(url: str) -> set[str]:
    """The ids of the service keys that are needed."""
    async with connection(url) as owner:
        return {use.service_key for use in await count_key_uses(owner)}


@pytest.mark.usefixtures("one_by_one")
async def test_one_organisation_is_rewrapped_alone(fleet: Fleet) -> None:
    first = await populate(fleet.members[0][1])
    second = await tokens_client(fleet.members[0][1])
    status, output = await typed(
        environment(fleet.url, **SWAPPED),
        "keys",
        "rewrap",
        "--organisation",
        first.api.organisation,
    )
    assert (status, ", 0 left\n" in output) == (0, True), output
    async with connection(fleet.url) as owner:
        for client, secrets in ((first, NEW), (second, OLD)):
            found_uses = await count_key_uses(owner, client.api.organisation)
            assert {use.service_key for use in found_uses} == {key_id(secrets["SERVICE_KEY"])}


async def test_an_unknown_organisation_is_refused(fleet: Fleet) -> None:
    variables = environment(fleet.url, **SWAPPED)
    status, output = await typed(variables, "keys", "rewrap", "--organisation", "NOBODY")
    assert (status, output.strip()) == (1, "crmledger: nothing of NOBODY is encrypted")


async def test_what_no_listed_key_opens_is_left_and_reported(fleet: Fleet) -> None:
    await populate(fleet.members[0][1])
    status, output = await typed(environment(fleet.url, **AFTER), "keys", "rewrap")
    assert (status, "need a service key that is not listed" in output) == (1, True), output
    report = await checked(fleet.url, AFTER)
    assert (report.verdict, "need another service key" in report.message) == ("failed", True)
    assert await uses(fleet.url) == {key_id(OLD["SERVICE_KEY"])}


async def test_an_erased_key_does_not_come_back(fleet: Fleet) -> None:
    client = await populate(fleet.members[0][1])
    async with connection(fleet.url) as eraser, eraser.transaction():
        # An append that erases, about to be written: it has the lock that orders appends.
        await eraser.execute(key_rotation.LOCK, client.api.organisation)
        rewrapping = asyncio.create_task(rewrap(fleet.url, SWAPPED))
        await wait_for_lock(fleet.url)
        await eraser.execute("DELETE FROM ledger.personal_keys")
    await rewrapping
    async with connection(fleet.url) as owner:
        assert await owner.fetchval("SELECT count(*) FROM ledger.personal_keys") == 0


async def wait_for_lock(url: str) -> None:
    """Wait until somebody waits for an advisory lock."""
    async with asyncio.timeout(60), connection(url) as owner:
        while not await owner.fetchval(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
        ):
            await asyncio.sleep(0.01)


async def test_a_replaced_web_api_key_is_gone_though_it_was_rewrapped_meanwhile(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await populate(fleet.members[0][1])
    await fleet.start(SWAPPED)
    service = fleet.members[-1][1]
    claim_key, another = Registrar._claim_key, uuid4().hex.upper()

    async def rewrapped_first(*arguments: Any) -> None:
        await rewrap(fleet.url, SWAPPED)
        await claim_key(*arguments)

    monkeypatch.setattr(Registrar, "_claim_key", rewrapped_first)
    status, answer, _ = await put_key(fleet, another)
    assert (status, answer["status"]["code"]) == (200, "OK"), answer
    assert await log_in_by_key(Api(service), another) == "OK"
    assert await log_in_by_key(Api(service), KEY) != "OK"
    assert len([row for row in await claims(fleet.url) if row["entity"] == "web_api_key/K"]) == 1


async def claims(url: str) -> list[asyncpg.Record]:
    """The claims of web API keys over all organisations."""
    async with connection(url) as owner:
        return await owner.fetch(
            "SELECT * FROM ledger.global_claims WHERE claim LIKE 'web_api_key=%'"
        )


async def test_a_web_api_key_stays_unique_whichever_key_has_hashed_it(fleet: Fleet) -> None:
    await populate(fleet.members[0][1])
    await fleet.start(SWAPPED)
    other = await tokens_client(fleet.members[-1][1])
    record = {"kind": "web_api_key", "id": "K", "classification": "SYSTEMIC_KEY", "user_id": "1"}
    with pytest.raises(AssertionError, match="DUPLICATEENTITY"):
        await other.api.register([record | {"key": KEY}])


async def test_the_same_web_api_key_is_known_whichever_key_has_hashed_it(fleet: Fleet) -> None:
    await populate(fleet.members[0][1])
    await fleet.start(SWAPPED)
    before = await claims(fleet.url)
    status, answer, _ = await put_key(fleet, KEY)
    assert (status, answer["data"]["result"]) == (200, "UNCHANGED"), answer
    assert await claims(fleet.url) == before


async def put_key(fleet: Fleet, key: str) -> tuple[int, Any, Any]:
    """Register the web API key anew on the last process."""
    (organisation,) = {
        row["organisation"] for row in await claims(fleet.url) if "/K" in row["entity"]
    }
    record = {"classification": "SYSTEMIC_KEY", "user_id": "1", "key": key}
    return await fleet.members[-1][1].send(
        "PUT",
        "/reference/v1/web_api_key/K",
        query={"organisation": organisation},
        data=json.dumps(record).encode(),
        headers={"Authorization": f"Bearer {NEW['OPERATOR_KEY']}"},
    )


async def test_old_seals_stay_good_while_their_key_is_trusted(fleet: Fleet) -> None:
    client = await populate(fleet.members[0][1])
    async with connection(fleet.url) as owner:
        await seal_next(
            owner,
            client.api.organisation,
            signer_of(OLD["SERVICE_KEY"]),
            KeyRing(OLD["SERVICE_KEY"]),
        )
    await rewrap(fleet.url, SWAPPED)
    former = signer_of(OLD["SERVICE_KEY"]).key
    for variables, sound in (
        (SWAPPED, True),
        (AFTER, False),
        (AFTER | {"CRMLEDGER_SEAL_KEYS": former}, True),
    ):
        verdict = (await checked(fleet.url, variables)).verdict
        assert (verdict == "ok") is sound
        status, output = await typed(environment(fleet.url, **variables), "audit", "verify")
        assert (status == 0) is sound, output
    await fleet.start(SWAPPED)
    await replace(client, api=replace(client.api, service=fleet.members[-1][1])).create()
    async with connection(fleet.url) as owner:
        await seal_next(
            owner,
            client.api.organisation,
            signer_of(NEW["SERVICE_KEY"]),
            KeyRing(NEW["SERVICE_KEY"]),
        )
    trusting = AFTER | {"CRMLEDGER_SEAL_KEYS": former}
    status, output = await typed(environment(fleet.url, **trusting), "audit", "verify")
    assert status == 0, output
