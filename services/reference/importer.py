"""Import of records as JSON Lines, in order; refused lines are reported and skipped.

Contract reference_entities.md, section 1. Neighbouring lines that cannot depend on each other are
registered concurrently, so that they share transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from domain.errors import InvalidRequest, ServiceError, ServiceUnavailable
from domain.fields import JsonObject
from domain.identifiers import normalised
from domain.reference.catalogue import KINDS
from domain.reference.records import RecordLink
from services.reference.registrar import CREATED, UNCHANGED, UPDATED, Registrar, RegistrationResult

__all__ = ["ImportReport", "import_lines"]

BATCH_SIZE = 64
"""The most lines that are registered concurrently."""


@dataclass(slots=True)
class ImportReport:
    """The results of the lines; ``refused`` holds line number (from 1), code and description.

    ``secrets`` are those that were generated, with the line number; they are shown only here.
    """

    results: dict[str, int] = field(default_factory=lambda: {CREATED: 0, UPDATED: 0, UNCHANGED: 0})
    refused: list[JsonObject] = field(default_factory=list)
    secrets: list[JsonObject] = field(default_factory=list)

    def summary(self) -> JsonObject:
        """The report as a response; with secrets only if there are any."""
        report: JsonObject = {name.lower(): count for name, count in self.results.items()}
        report |= {"refused": self.refused}
        return report | ({"secrets": self.secrets} if self.secrets else {})


async def import_lines(
    registrar: Registrar,
    lines: Iterable[bytes],
    *,
    organisation: str | None,
    kind: str | None,
    source: str,
    advance: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Registers every line.

    :param organisation: the name of the organisation of records that name none.
    :param kind: the kind of records that name none.
    :param advance: called with the number of bytes of each line.
    Raises `ServiceUnavailable` when the database is unavailable; earlier lines stay registered.
    """
    report = ImportReport()
    batch: list[tuple[int, Any]] = []
    keys: set[object] = set()
    batch_kind: str | None = None
    for number, line in enumerate(lines, start=1):
        advance(len(line) + 1)
        record = _read(line, kind)
        if record is None:
            continue
        own_keys = _keys(record)
        record_kind = record.get("kind") if own_keys else None
        if len(batch) == BATCH_SIZE or record_kind != batch_kind or not own_keys or keys & own_keys:
            await _register_in_order(registrar, batch, organisation, source, report)
            batch, keys, batch_kind = [], set(), record_kind
        batch.append((number, record))
        keys |= own_keys
    await _register_in_order(registrar, batch, organisation, source, report)
    return report


def _read(line: bytes, kind: str | None) -> Any:
    """The record of a line; None for a blank one, an error for anything but a JSON object."""
    if not line.strip():
        return None
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return InvalidRequest("not strict JSON")
    if not isinstance(record, dict):
        return InvalidRequest("not a JSON object")
    return ({"kind": kind} if kind else {}) | record


def _keys(record: Any) -> set[object]:
    """The values that no two lines of a batch may share; empty for a line that must go alone."""
    kind = KINDS.get(str(record.get("kind"))) if isinstance(record, dict) else None
    if kind is None or kind.key == "organisation":
        return set()
    if any(
        isinstance(field, RecordLink) and field.target_kind == kind.key for field in kind.fields
    ):
        return set()
    names = (
        "id",
        *kind.unique_fields,
        kind.globally_unique,
        *kind.unique_together,
        "account_owner_id",
    )
    return {
        (name, normalised(name, str(record[name]), case_insensitive=True))
        for name in names
        if record.get(name)
    }


async def _register_in_order(
    registrar: Registrar,
    batch: list[tuple[int, Any]],
    organisation: str | None,
    source: str,
    report: ImportReport,
) -> None:
    """Registers a batch; a line that takes a value which an earlier one gives up comes later."""
    together: list[tuple[int, Any]] = []
    keys: set[object] = set()
    stored: list[JsonObject] = [{}] * len(batch)
    if len(batch) > 1:
        stored = await asyncio.gather(*(registrar.stored(r, organisation) for _, r in batch))
    for line, former in zip(batch, stored, strict=True):
        own_keys = _keys(line[1]) | _keys(former)
        if own_keys & keys:
            await _register(registrar, together, organisation, source, report)
            together, keys = [], set()
        together.append(line)
        keys |= own_keys
    await _register(registrar, together, organisation, source, report)


async def _register(
    registrar: Registrar,
    batch: list[tuple[int, Any]],
    organisation: str | None,
    source: str,
    report: ImportReport,
) -> None:
    async def register_one(record: Any) -> RegistrationResult | ServiceError:
        if isinstance(record, ServiceError):
            return record
        try:
            return await registrar.register(record, organisation, source)
        except ServiceError as error:
            return error

    outcomes = await asyncio.gather(*(register_one(record) for _, record in batch))
    for (number, _), outcome in zip(batch, outcomes, strict=True):
        if isinstance(outcome, ServiceUnavailable):
            raise outcome
        if isinstance(outcome, ServiceError):
            refusal = {"line": number, "code": outcome.code, "description": outcome.description}
            report.refused.append(refusal)
        else:
            report.results[outcome.result] += 1
            if outcome.generated_secrets:
                report.secrets.append({"line": number} | outcome.generated_secrets)
