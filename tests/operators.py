"""An operator: registers records over HTTP and reads them back (reference_entities.md, section 1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.http.operators.reference import REFERENCE
from tests.service import OPERATOR_KEY, Api, Json, refusal

__all__ = ["Operator"]


@dataclass(frozen=True)
class Operator:
    """The operator of the organisation of ``api``."""

    api: Api

    async def send(
        self,
        verb: str,
        path: str,
        *,
        data: bytes | None = None,
        query: Mapping[str, str] | None = None,
        authorization: str | None = f"Bearer {OPERATOR_KEY}",
    ) -> tuple[int, Json]:
        """HTTP status and envelope of one request; the organisation is named in the query."""
        query = {"organisation": self.api.organisation} | dict(query or {})
        headers = {"Authorization": authorization} if authorization else {}
        status, answer, _ = await self.api.service.send(
            verb, REFERENCE + path, query=query, data=data, headers=headers
        )
        return status, answer

    async def put(self, kind: str, id_: str, /, **fields: Any) -> str:
        """What became of a record that must not be refused."""
        status, answer = await self.send("PUT", f"{kind}/{id_}", data=json.dumps(fields).encode())
        assert (status, answer["status"]["code"]) == (200, "OK"), answer
        assert answer["data"].keys() == {"id", "result"}
        return str(answer["data"]["result"])

    async def refused(self, kind: str, id_: str, /, **fields: Any) -> tuple[str, str]:
        """NAME and description with which a record is refused."""
        status, answer = await self.send("PUT", f"{kind}/{id_}", data=json.dumps(fields).encode())
        assert status == 400, answer
        return refusal(answer)

    async def lines(self, kind: str, *records: Json | str) -> Json:
        """The report on lines."""
        texts = [line if isinstance(line, str) else json.dumps(line) for line in records]
        status, answer = await self.send("POST", kind, data="\n".join(texts).encode())
        assert (status, answer["status"]["code"]) == (200, "OK"), answer
        return dict(answer["data"])

    async def get(self, path: str, **query: Any) -> Any:
        """One record, or the list of a kind."""
        given = {name: str(value) for name, value in query.items()}
        status, answer = await self.send("GET", path, query=given)
        assert (status, answer["status"]["code"]) == (200, "OK"), answer
        return answer["data"]
