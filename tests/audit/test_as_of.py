"""As of a position or a time: what each method that reads would have answered then."""

from __future__ import annotations

from tests.auditors import Auditor


async def test_smoke(audited: Auditor) -> None:
    made = audited.desk
    await made.say()
    head = (await audited.get("head"))["position"]
    before = await audited.get(
        "as_of/communications/list", as_of=head, contact_information_identifier=f"id={made.reader}"
    )
    print(before)
    now = await made.api.get(
        "communications/list", contact_information_identifier=f"id={made.reader}"
    )
    assert before == now
    x = await audited.get(
        "as_of/communications/list",
        as_of=head - 1,
        contact_information_identifier=f"id={made.reader}",
    )
    assert x == []
