"""One object of the schema ``analytics``, and the SQL that makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.analytics.columns import Column, quoted

__all__ = ["ORGANISATION", "PERSONAL_GRANT", "PERSONAL_ROLE", "ROLE", "Relation"]

ROLE, PERSONAL_ROLE = "crmledger_analyst", "crmledger_analyst_personal"
"""Whose members read the objects, and whose members read personal columns in clear."""

ORGANISATION = Column("organisation", "text", "The id of the organisation.", "v.organisation")

# OFFSET keeps the question apart from the rest, so that it is asked once and not for every value.
PERSONAL_GRANT = (
    f"CROSS JOIN (SELECT pg_has_role('{PERSONAL_ROLE}', 'USAGE') AS granted OFFSET 0) AS clear"
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A view over ``source``, or, without one, a table that the projector feeds.

    ``order`` are the columns that, after the organisation, put the rows into one order; ``position``
    is the column by which new and changed rows are told, if there is one.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    source: str = ""
    order: tuple[str, ...] = ()
    position: str = ""

    def statements(self) -> Iterator[str]:
        """The SQL that makes the view, where it is one, and says what everything means."""
        kind = "VIEW" if self.source else "TABLE"
        if self.source:
            items = ",\n".join(f"    {_select_item(column)}" for column in self.columns)
            yield f"CREATE VIEW analytics.{self.name} AS\nSELECT\n{items}\nFROM {self.source}"
            yield f"GRANT SELECT ON analytics.{self.name} TO {ROLE}"
        yield f"COMMENT ON {kind} analytics.{self.name} IS {_literal(self.description)}"
        for column in self.columns:
            name = f"analytics.{self.name}.{quoted(column.name)}"
            yield f"COMMENT ON COLUMN {name} IS {_literal(column.comment)}"


def _select_item(column: Column) -> str:
    """One column of a view; what belongs to a person is null where it is not granted."""
    sql = f"CASE WHEN clear.granted THEN {column.sql} END" if column.personal else column.sql
    return f"({sql})::{column.type} AS {quoted(column.name)}"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
