"""Registered records and organisations, to which other relations refer by id."""

from __future__ import annotations

from infra.analytics.columns import Column
from infra.analytics.relation import ORGANISATION, PERSONAL_GRANT, Relation

__all__ = ["ORGANISATIONS", "RECORDS"]

_NAME = (
    "coalesce(v.document ->> 'name', v.document ->> 'username', v.document ->> 'description',"
    " v.document ->> 'code')"
)
# Names of an organisation's set-up are not personal; an account may bear its owner's name.
_SHOWN = f"CASE WHEN v.directory OR clear.granted THEN {_NAME} END"

RECORDS = Relation(
    "records",
    "Registered records of all kinds, one a row: categories, units, users, accounts and the like.",
    (
        ORGANISATION,
        Column("kind", "text", "The kind of record.", "v.kind"),
        Column("id", "text", "Id, as other objects refer to it.", "v.id"),
        Column(
            "name", "text", "What it is called. Personal outside the organisation's set-up.", _SHOWN
        ),
        Column("number", "text", "Its number, of kinds that have one.", "v.document ->> 'number'"),
        Column("code", "text", "Its code, of kinds that have one.", "v.document ->> 'code'"),
        Column("alternative_code", "text", "Another code.", "v.document ->> 'alternative_code'"),
        Column("life_cycle_state", "text", "Its state.", "v.document ->> 'life_cycle_state'"),
        Column("retired", "boolean", "Whether it can no longer be chosen.", "v.retired"),
        Column("created_position", "bigint", "Position of its first event.", "v.created"),
        Column("changed_position", "bigint", "Position of its last event.", "v.changed"),
    ),
    f"views.records v\n{PERSONAL_GRANT}",
    ("created_position",),
    "changed_position",
)
ORGANISATIONS = Relation(
    "organisations",
    "The organisations, one a row.",
    (
        ORGANISATION,
        Column("name", "text", "What it is called.", "v.document ->> 'name'"),
    ),
    "views.records v WHERE v.kind = 'organisation'",
)
