"""An organisation with users of every role, and what an auditor asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.http.audit.routes import AUDIT
from tests.communications_world import Desk, desk
from tests.service import PASSWORD, Service
from tests.world import UNIT

__all__ = ["ROLES", "Auditor", "auditor"]

Json = dict[str, Any]

ROLES = ("service", "auditor", "operator", "analyst")


@dataclass
class Auditor:
    """An organisation with something in it, and a session of a user for each role."""

    desk: Desk
    tokens: dict[str, str]

    async def ask(
        self,
        path: str,
        *,
        role: str = "auditor",
        verb: str = "GET",
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        **query: Any,
    ) -> tuple[int, Json, Mapping[str, str]]:
        """Status, body and headers of an audit method."""
        bearer = {"Authorization": f"Bearer {self.tokens[role]}"}
        return await self.desk.api.service.send(
            verb,
            AUDIT + path,
            query={name: str(value) for name, value in query.items()},
            data=data,
            headers=bearer | dict(headers or {}),
        )

    async def get(self, path: str, **query: Any) -> Any:
        """The data of an audit method that must not fail."""
        status, answer, _ = await self.ask(path, **query)
        assert (status, answer["status"]["code"]) == (200, "OK"), answer
        return answer["data"]


async def auditor(service: Service, made: Desk | None = None) -> Auditor:
    """An organisation of its own on ``service``, or ``made``, with a user for each role."""
    made = made or await desk(service)
    tokens: dict[str, str] = {}
    for n, role in enumerate(ROLES, start=10):
        fields = {"username": role, "default_unit_id": UNIT, "roles": [role], "password": PASSWORD}
        await made.register("user", str(n), **fields)
        tokens[role] = await made.api.login(role)
    return Auditor(made, tokens)
