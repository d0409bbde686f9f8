"""What operators see of what waits: the console's section, the check, the metrics."""

from __future__ import annotations

from infra.delivery.backlog import Backlog, backlogs
from infra.delivery.dispatcher import MessageDispatcher
from infra.diagnostics.delivery import SENDING_CHECKS
from infra.diagnostics.runner import run
from infra.http.browser.console_sections import outgoing
from infra.observability.metrics import metrics
from infra.settings import Settings
from tests.communications_world import Desk
from tests.sending_world import Mailbox, due, listening_nowhere, sent_by
from tests.service import environment
from tests.views_world import connection
from tests.world import rows

SET = {"email_server": {"host": "a"}, "sms_server": {"url": "b"}}
AGE = (
    "UPDATE ledger.events SET recorded_at = recorded_at - interval '1 hour' WHERE organisation = $1"
)


async def looked(office: Desk) -> Backlog:
    async with connection(office.api.service.database) as owner:
        found = await backlogs(owner, office.api.organisation)
    assert [one.media for one in found] == ["EMAIL", "SMS"]
    return found[0]


async def checked(office: Desk) -> tuple[str, str]:
    url = office.api.service.database
    (report,) = await run(url, Settings.from_environment(environment(url)), SENDING_CHECKS)
    return report.verdict, report.said


async def test_what_is_put_off_and_what_is_away(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    async def busy(command: str, address: str) -> str | None:
        return "450 Busy" if command == "RCPT" else None

    box.answer = busy
    common = {"default_email_address": "crm@example.org"}
    await office.settings(email_server=box.settings(), **common)
    await office.mail()
    await office.mail()
    await sent_by(working)
    found = await looked(office)
    assert (found.entries, found.put_off, found.tries, found.error) == (2, 1, 1, "SMTP 450")
    assert 0 < found.next_try <= 30
    assert (await checked(office))[0] == "ok"
    said = outgoing([found], SET).said
    assert "1 were tried once, the last error is SMTP 450, the next try in " in said

    nowhere = box.settings(port=await listening_nowhere())
    await office.settings(email_server=nowhere, **common)
    await due(office.api.service.database)
    await sent_by(working)
    found = await looked(office)
    assert (found.failures, found.server_error) == (1, "SMTP UNREACHABLE")
    assert 0 < found.paused_for <= 30
    assert (
        "the server cannot be used (SMTP UNREACHABLE), it is left alone"
        in outgoing([found], SET).said
    )
    verdict, said = await checked(office)
    assert (verdict, "(SMTP UNREACHABLE)" in said) == ("warning", True)

    working._measured_at = 0
    await working.once()
    text = metrics().decode()
    labels = f'media="EMAIL",organisation="{office.api.organisation}"'
    assert f"crmledger_sending_waiting{{{labels}}} 2.0" in text
    assert f"crmledger_sending_put_off{{{labels}}} 1.0" in text


async def test_nothing_sends(office: Desk) -> None:
    await office.settings(email_server={"host": "mail.example.org"})
    await office.mail()
    assert (await checked(office))[0] == "ok"
    async with connection(office.api.service.database) as owner:
        await owner.execute("ALTER TABLE ledger.events DISABLE TRIGGER USER")
        await owner.execute(AGE, office.api.organisation)
        await owner.execute("ALTER TABLE ledger.events ENABLE TRIGGER USER")
    verdict, said = await checked(office)
    assert verdict == "warning"
    assert f"1 EMAIL of {office.api.organisation} wait, the first for 3,6" in said
    assert "is `crmledger send` running?" in said
    # Where no server is set others fetch what waits, and nobody is told.
    await office.settings()
    assert (await checked(office))[0] == "ok"


async def test_rows_of_entries_that_others_decided_are_swept(
    office: Desk, working: MessageDispatcher, box: Mailbox
) -> None:
    async def busy(command: str, address: str) -> str | None:
        return "450 Busy" if command == "RCPT" else None

    box.answer = busy
    await office.settings(email_server=box.settings(), default_email_address="crm@example.org")
    entry = await office.mail()
    await sent_by(working)
    await office.queue("process", entry)
    working._measured_at = 0
    await working.once()
    assert await rows(office.api, "SELECT * FROM outward.deliveries WHERE organisation = $1") == []
