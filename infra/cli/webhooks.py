"""``crmledger deliver`` and ``crmledger webhooks``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from cyclopts import App, Parameter

from domain.errors import ServiceError
from infra.cli.runtime import database, open_command_application, prepare_schema, stop_signal
from infra.cli.terminal import exit_with, out
from infra.cli.worker import AdminPort, serve_admin_port
from infra.encryption import KeyRing
from infra.password_hasher import SecretHasher
from infra.postgres.notify import Listener
from infra.postgres.pool import ConnectionPool
from infra.settings import Settings
from infra.webhooks.admin import WebhookAdmin
from infra.webhooks.dispatcher import CONNECTIONS, ROLE, WebhookDispatcher
from infra.webhooks.http_client import HttpWebhookClient
from infra.webhooks.subscription_worker import DeliveryPolicy

__all__ = ["deliver", "webhooks"]

webhooks = App(name="webhooks", help="Webhook subscriptions.")

DEFAULTS = DeliveryPolicy()
STATUS_COLUMNS = ("id", "state", "pending", "lag_positions", "lag_seconds", "failing_since", "url")
ATTEMPT_COLUMNS = ("made_at", "position", "try", "outcome", "status", "milliseconds")


async def deliver(
    *,
    lease: Annotated[
        float, Parameter(help="Seconds after which another process takes over.")
    ] = DEFAULTS.lease,
    timeout: Annotated[
        float, Parameter(help="Timeout of a request in seconds; less than the lease.")
    ] = DEFAULTS.timeout,
    pause: Annotated[
        float, Parameter(name="--poll-interval", help="Poll interval of the ledger in seconds.")
    ] = DEFAULTS.pause,
    first_retry: Annotated[
        float, Parameter(help="Seconds before the first retry; doubled for each further one.")
    ] = DEFAULTS.first_backoff,
    admin_port: AdminPort = None,
) -> None:
    """Run the webhook dispatcher. Runs until SIGTERM or Ctrl-C."""
    if not 0 < timeout < lease:
        exit_with("--timeout must be shorter than --lease")
    settings = Settings.from_environment()
    stop = stop_signal()
    policy = DeliveryPolicy(lease=lease, timeout=timeout, pause=pause, first_backoff=first_retry)
    async with (
        database(settings) as url,
        HttpWebhookClient(settings.reachable_networks, timeout=timeout) as client,
    ):
        await prepare_schema(url, own=settings.embedded)
        pool, secrets = (
            ConnectionPool(url, CONNECTIONS, role=ROLE),
            SecretHasher(*settings.service_keys),
        )
        base_url = settings.public_url or ""
        listener = Listener(url, ROLE)
        ring = KeyRing(*settings.service_keys)
        dispatcher = WebhookDispatcher(
            pool, listener, client, secrets, ring, policy=policy, base_url=base_url
        )
        async with serve_admin_port(dispatcher, settings, admin_port):
            await dispatcher.run(stop)
        await pool.close()
        secrets.close()


@asynccontextmanager
async def _open_admin(organisation: str) -> AsyncIterator[tuple[WebhookAdmin, str]]:
    """Open the administration of an organisation. An error is printed on one line, with exit status 1."""
    try:
        async with open_command_application(Settings.from_environment()) as application:
            context = await application.operator.context(organisation)
            yield application.webhook_admin, context.directory.organisation
    except ServiceError as error:
        exit_with(f"{error.message}: {error.description}")


@webhooks.command(name="list")
async def list_(organisation: str, *, limit: int = 100, offset: int = 0) -> None:
    """List webhook subscriptions with state and lag."""
    async with _open_admin(organisation) as (admin, tenant):
        _print_table(STATUS_COLUMNS, await admin.statuses(tenant, limit, offset))


@webhooks.command
async def deliveries(organisation: str, webhook: str, *, limit: int = 100, offset: int = 0) -> None:
    """List the delivery attempts of a subscription, the latest first."""
    async with _open_admin(organisation) as (admin, tenant):
        _print_table(ATTEMPT_COLUMNS, await admin.deliveries(tenant, webhook, limit, offset))


@webhooks.command
async def replay(
    organisation: str,
    webhook: str,
    *,
    from_: Annotated[int, Parameter(name="--from", help="The first position to re-send.")],
) -> None:
    """Re-send events from a position, with the same message ids."""
    async with _open_admin(organisation) as (admin, tenant):
        await admin.replay(tenant, webhook, from_)
    out.print_line(f"replayed from {from_}")


@webhooks.command
async def resume(organisation: str, webhook: str) -> None:
    """Send pending events now; reactivates a subscription that is PAUSED or GONE."""
    async with _open_admin(organisation) as (admin, tenant):
        await admin.resume(tenant, webhook)
    out.print_line(f"resumed {webhook}")


def _print_table(columns: tuple[str, ...], rows: list[dict[str, object]]) -> None:
    out.print_table(
        [column.replace("_", " ") for column in columns],
        [["" if row[name] is None else str(row[name]) for name in columns] for row in rows],
    )
