"""A relation of the schema ``analytics``, and the SQL that creates it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from infra.analytics.columns import Column, quoted

__all__ = ["ORGANISATION", "PERSONAL_GRANT", "PERSONAL_ROLE", "ROLE", "Relation"]

ROLE, PERSONAL_ROLE = "crmledger_analyst", "crmledger_analyst_personal"
"""The roles that read the relations, and that read personal columns in clear."""

ORGANISATION = Column("organisation", "text", "The id of the organisation.", "v.organisation")

# OFFSET prevents inlining, so that the role is checked once and not for every value.
PERSONAL_GRANT = (
    f"CROSS JOIN (SELECT pg_has_role('{PERSONAL_ROLE}', 'USAGE') AS granted OFFSET 0) AS clear"
)


@dataclass(frozen=True, slots=True)
class Relation:
    """A view over ``source`` or, without one, a table that the projector fills.

    ``order`` are the columns by which, after the organisation, the rows have a unique order; ``position``
    is the column that identifies new and changed rows, if there is one.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    source: str = ""
    order: tuple[str, ...] = ()
    position: str = ""

    def statements(self) -> Iterator[str]:
        """Yield the SQL that creates the view, if it is one, and the comments on relation and columns."""
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
    """Return one column of a view; personal data is null unless it is granted."""
    sql = f"CASE WHEN clear.granted THEN {column.sql} END" if column.personal else column.sql
    return f"({sql})::{column.type} AS {quoted(column.name)}"


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
