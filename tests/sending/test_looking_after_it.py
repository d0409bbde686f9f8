"""What operators see of what waits: the console's section, the check, the metrics."""

from __future__ import annotations

from infra.delivery.backlog import Backlog, backlogs
from infra.delivery.dispatcher import MessageDispatcher
from infra.diagnostics.delivery import SENDING_CHECKS
from infra.diagnostics.runner import run
from infra.http.browser.console_sections import built_in_sender
from infra.observability.metrics import metrics
from infra.settings import Settings
from tests.fixtures.communications import CommunicationsClient
from tests.fixtures.delivery import Mailbox, closed_port, dispatch, make_due
from tests.fixtures.organisation import query_rows
from tests.fixtures.read_models import connection
from tests.fixtures.service import environment

SET = {"email_server": {"host": "a"}, "sms_server": {"url": "b"}}
AGE = (
    "UPDATE ledger.events SET recorded_at = recorded_at - interval '1 hour' WHERE organisation = $1"
)


async def looked(client: CommunicationsClient) -> Backlog:
    async with connection(client.api.service.database) as owner:
        found = await backlogs(owner, client.api.organisation)
    assert [one.media for one in found] == ["EMAIL", "SMS"]
    return found[0]


async def checked(client: CommunicationsClient) -> tuple[str, str]:
    url = client.api.service.database
    (report,) = await run(url, Settings.from_environment(environment(url)), SENDING_CHECKS)
    return report.verdict, report.message


async def test_what_is_put_off_and_what_is_away(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    async def busy(command: str, address: str) -> str | None:
        return "450 Busy" if command == "RCPT" else None

    box.answer = busy
    common = {"default_email_address": "crm@example.org"}
    await client.register_settings(email_server=box.settings(), **common)
    await client.create_email()
    await client.create_email()
    await dispatch(working)
    found = await looked(client)
    assert (found.entries, found.put_off, found.tries, found.error) == (2, 1, 1, "SMTP 450")
    assert 0 < found.next_try <= 30
    assert (await checked(client))[0] == "ok"
    text = built_in_sender([found], SET).text
    assert "1 deferred after 1 attempt, last error SMTP 450, next attempt in " in text

    nowhere = box.settings(port=await closed_port())
    await client.register_settings(email_server=nowhere, **common)
    await make_due(client.api.service.database)
    await dispatch(working)
    found = await looked(client)
    assert (found.failures, found.server_error) == (1, "SMTP UNREACHABLE")
    assert 0 < found.paused_for <= 30
    assert (
        "server unavailable (SMTP UNREACHABLE): circuit open, retrying in "
        in built_in_sender([found], SET).text
    )
    verdict, said = await checked(client)
    assert (verdict, "(SMTP UNREACHABLE)" in said) == ("warning", True)

    working._measured_at = 0
    await working.once()
    text = metrics().decode()
    labels = f'media="EMAIL",organisation="{client.api.organisation}"'
    assert f"crmledger_sending_waiting{{{labels}}} 2.0" in text
    assert f"crmledger_sending_deferred{{{labels}}} 1.0" in text


async def test_nothing_sends(client: CommunicationsClient) -> None:
    await client.register_settings(email_server={"host": "mail.example.org"})
    await client.create_email()
    assert (await checked(client))[0] == "ok"
    async with connection(client.api.service.database) as owner:
        await owner.execute("ALTER TABLE ledger.events DISABLE TRIGGER USER")
        await owner.execute(AGE, client.api.organisation)
        await owner.execute("ALTER TABLE ledger.events ENABLE TRIGGER USER")
    verdict, said = await checked(client)
    assert verdict == "warning"
    assert f"1 EMAIL of {client.api.organisation} queued, the oldest for 3,6" in said
    assert "is `crmledger send` running?" in said
    # Where no server is set others fetch what waits, and nobody is told.
    await client.register_settings()
    assert (await checked(client))[0] == "ok"


async def test_rows_of_entries_that_others_decided_are_swept(
    client: CommunicationsClient, working: MessageDispatcher, box: Mailbox
) -> None:
    async def busy(command: str, address: str) -> str | None:
        return "450 Busy" if command == "RCPT" else None

    box.answer = busy
    await client.register_settings(
        email_server=box.settings(), default_email_address="crm@example.org"
    )
    entry = await client.create_email()
    await dispatch(working)
    await client.call_queue("process", entry)
    working._measured_at = 0
    await working.once()
    assert (
        await query_rows(client.api, "SELECT * FROM delivery.entries WHERE organisation = $1") == []
    )
