"""The statement that answers what calls ask: rows of several kinds, whose columns hold what each kind needs."""

from __future__ import annotations

from functools import cache

from infra.store.aggregate_loader import SHOWN, UNION, load_expressions
from infra.views.queries import documents_with_references

__all__ = ["WITH_AGGREGATES", "context_statement"]

# Tables are those of {schema}. Functions are always those of ``views``, which look at the present: they are called for
# customers and sessions only, and what auditors ask of the past names neither.
MATCHES = """
matches (n, kind, id, retired) AS (
    SELECT w.n, w.kind, split_part(m.ref, '/', 2), m.retired
      FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
               WITH ORDINALITY AS w (kind, field, value, account, contact, n),
           LATERAL (SELECT ref, retired FROM {schema}.entities m
                     WHERE m.organisation = $1 AND m.ref = w.kind || '/' || w.value LIMIT 1) AS m
     WHERE w.field = 'id' AND (w.account IS NULL OR views.belongs_to_customer($1, m.ref, ARRAY[w.account, w.contact]))
    UNION ALL
    SELECT w.n, w.kind, m.id, m.retired
      FROM unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
               WITH ORDINALITY AS w (kind, field, value, account, contact, n),
           LATERAL (SELECT id, retired FROM {schema}.identifiers m
                     WHERE m.organisation = $1 AND m.kind = w.kind AND m.field = w.field AND m.value = w.value
                       AND (w.account IS NULL
                            OR views.belongs_to_customer($1, w.kind || '/' || m.id, ARRAY[w.account, w.contact]))
                     ORDER BY m.retired LIMIT 3) AS m
     WHERE w.field <> 'id'
)"""
ANSWERS = """
SELECT 'head' AS what, 0::bigint AS n, NULL AS a, NULL AS b, max(changed) AS c, NULL::boolean AS d,
       NULL::bytea AS e, clock_timestamp() AS moment, NULL AS f, NULL AS g
  FROM {schema}.records WHERE organisation = $1 AND directory
UNION ALL
SELECT 'session', w.n, s.user_id, s.unit_id, s.expires_at,
       s.released OR s.access_token IS NOT NULL
                     AND NOT views.is_session_valid($1, s.access_token, s.account, s.contact),
       NULL, NULL, s.account, s.contact
  FROM unnest($2::text[]) WITH ORDINALITY AS w (id, n),
       LATERAL (SELECT * FROM {schema}.sessions s WHERE s.organisation = $1 AND s.id = w.id LIMIT 1) AS s
UNION ALL
SELECT 'answer', w.n, a.request_hash, a.key, NULL, NULL, a.response, NULL, NULL, NULL
  FROM unnest($3::text[]) WITH ORDINALITY AS w (key, n),
       LATERAL (SELECT * FROM ledger.stored_responses a WHERE a.organisation = $1 AND a.key = w.key LIMIT 1) AS a
 WHERE a.recorded_at > clock_timestamp() - interval '24 hours'
UNION ALL
SELECT 'match', n, id, NULL, NULL, retired, NULL, NULL, NULL, NULL FROM matches
"""
DOCUMENTS = """
SELECT 'document', NULL, id, NULL, NULL, NULL, convert_to(document::text, 'UTF8'), NULL, NULL, NULL FROM page
"""

WITH_AGGREGATES = "loads"
"""In place of the name of a view: what commands load is wanted."""
NAMED = "ARRAY(SELECT id::uuid FROM matches WHERE n = ANY ({}::bigint[]))"
"""The ids of what is named by the identifiers at some places."""


@cache
def context_statement(schema: str, more: str | None) -> str:
    """The statement for questions that also want the documents of a view that are named, or `WITH_AGGREGATES`, or neither."""
    matches, answers = MATCHES.format(schema=schema), ANSWERS.format(schema=schema)
    if more is None:
        return f"WITH {matches}{answers}"
    if more == WITH_AGGREGATES:
        streams, subjects = NAMED.format("$9"), NAMED.format("$10")
        refs = "ARRAY(SELECT kind || '/' || id FROM matches)"
        tables, rows = load_expressions(streams, subjects, refs, "NULL", schema)
    else:
        tables = documents_with_references(more, "SELECT id FROM matches", schema)
        rows = UNION.join((DOCUMENTS, SHOWN))
    return f"WITH RECURSIVE {matches}, {tables}{answers}{UNION}{rows}"
