"""The statement that reads the context of calls: one row, whose columns are arrays of row types."""

from __future__ import annotations

from functools import cache

from infra.store.aggregate_loader import COMPACTS, load_expressions
from infra.views.queries import documents_with_references

__all__ = ["WITH_AGGREGATES", "context_statement"]

# Tables are those of {schema}. Functions are always those of ``views``, which look at the present: they are called for
# customers and sessions only, and what auditors ask of the past names neither.
WANTED = """unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
               WITH ORDINALITY AS w (kind, field, value, account, contact, n)"""
MATCHES = """
matches (identifier, kind, id, retired) AS (
    SELECT w.n, w.kind, split_part(m.ref, '/', 2), m.retired
      FROM {wanted},
           LATERAL (SELECT ref, retired FROM {schema}.entities m
                     WHERE m.organisation = $1 AND m.ref = w.kind || '/' || w.value LIMIT 1) AS m
     WHERE w.field = 'id' AND w.account IS NULL
    UNION ALL
    SELECT w.n, w.kind, m.id, m.retired
      FROM {wanted},
           LATERAL (SELECT id, retired FROM {schema}.identifiers m
                     WHERE m.organisation = $1 AND m.kind = w.kind AND m.field = w.field AND m.value = w.value
                     ORDER BY m.retired LIMIT 3) AS m
     WHERE w.field <> 'id' AND w.account IS NULL
    UNION ALL
    SELECT w.n, w.kind, m.id, m.retired
      FROM {wanted},
           LATERAL (SELECT id, retired FROM views.matches_of_customer($1, w.kind, w.field, w.value,
                                                                      ARRAY[w.account, w.contact]) LIMIT 3) AS m
     WHERE w.account IS NOT NULL
)"""
CONTEXT = """
SELECT clock_timestamp() AS now,
       (SELECT max(changed) FROM {schema}.records WHERE organisation = $1 AND directory) AS position,
       ARRAY(SELECT ROW (w.n, s.user_id, s.unit_id, s.expires_at, s.released,
                         s.customer_epochs IS NOT NULL AND views.has_epoch_passed($1, s.customer_epochs),
                         s.user_epoch, s.account, s.contact)::ledger.session_row
               FROM unnest($2::text[]) WITH ORDINALITY AS w (id, n),
                    LATERAL (SELECT * FROM {schema}.sessions s
                              WHERE s.organisation = $1 AND s.id = w.id LIMIT 1) AS s) AS sessions,
       ARRAY(SELECT ROW (w.n, a.key, a.request_hash, a.response)::ledger.response_row
               FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS w (session, key, n),
                    LATERAL (SELECT * FROM {schema}.sessions s
                              WHERE s.organisation = $1 AND s.id = w.session LIMIT 1) AS s,
                    LATERAL (SELECT * FROM ledger.stored_responses a
                              WHERE a.organisation = $1 AND a.key = w.key
                                AND a.caller = s.user_id || '/' || coalesce(s.account, '') LIMIT 1) AS a
              WHERE w.key IS NOT NULL AND a.recorded_at > clock_timestamp() - interval '24 hours') AS responses,
       ARRAY(SELECT ROW (identifier, id, retired)::ledger.match_row FROM matches) AS matches"""
DOCUMENTS = "ARRAY(SELECT ROW (id, document)::ledger.document_row FROM page) AS documents"

WITH_AGGREGATES = "loads"
"""Instead of the name of a view: the aggregates that commands load are wanted."""
NAMED = "ARRAY(SELECT id::uuid FROM matches WHERE identifier = ANY ({}::bigint[]))"
"""The ids of the entities that the identifiers with some numbers name."""


@cache
def context_statement(schema: str, extra: str | None) -> str:
    """Return the statement that reads the context of a batch of queries, of the read models of ``schema``.

    :param extra: the view whose documents the queries want too, or `WITH_AGGREGATES`; None for neither.
    """
    matches, context = MATCHES.format(schema=schema, wanted=WANTED), CONTEXT.format(schema=schema)
    if extra is None:
        return f"WITH {matches}{context}"
    if extra == WITH_AGGREGATES:
        streams, subjects = NAMED.format("$9"), NAMED.format("$10")
        refs = "ARRAY(SELECT kind || '/' || id FROM matches)"
        tables, columns = load_expressions(streams, subjects, refs, "NULL", schema)
    else:
        tables = documents_with_references(extra, "SELECT id FROM matches", schema)
        columns = f"{DOCUMENTS}, {COMPACTS}"
    return f"WITH RECURSIVE {matches}, {tables}{context}, {columns}"
