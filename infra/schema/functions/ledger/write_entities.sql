CREATE OR REPLACE FUNCTION ledger.write_entities(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parsed jsonb[] := view_columns::jsonb[];
    former record;
BEGIN
    INSERT INTO entities (organisation, ref, stream_id, retired, document, refs, owners)
    SELECT in_organisation, (w.columns ->> 'kind') || '/' || (w.columns ->> 'id'), w.stream,
           coalesce((w.columns ->> 'retired')::boolean, false), w.document::json,
           string_to_array(w.refs, ' '),
           ARRAY(SELECT jsonb_array_elements_text(nullif(w.columns -> 'owners', 'null')))
      FROM unnest(view_name, view_stream, parsed, view_document, view_refs)
               AS w (name, stream, columns, document, refs)
     WHERE w.name = 'entities'
    ON CONFLICT (organisation, ref) DO UPDATE
       SET retired = excluded.retired, document = excluded.document, refs = excluded.refs,
           owners = excluded.owners;
    -- One by one, of those that have any: joined, they may be planned as a scan of all identifiers.
    FOR former IN
        SELECT w.columns ->> 'kind' AS kind, w.columns ->> 'id' AS id
          FROM unnest(view_name, parsed) AS w (name, columns),
               LATERAL (SELECT FROM identifiers n
                         WHERE n.organisation = in_organisation AND n.kind = w.columns ->> 'kind'
                           AND n.id = w.columns ->> 'id' LIMIT 1) AS n
         WHERE w.name = 'entities' AND w.columns ->> 'names' IS NOT NULL
    LOOP
        DELETE FROM identifiers n
         WHERE n.organisation = in_organisation AND n.kind = former.kind AND n.id = former.id;
    END LOOP;
    INSERT INTO identifiers (organisation, kind, field, value, id, retired)
    SELECT in_organisation, w.columns ->> 'kind', n.field, n.value, w.columns ->> 'id',
           coalesce((w.columns ->> 'retired')::boolean, false)
      FROM unnest(view_name, parsed) AS w (name, columns),
           jsonb_each_text(nullif(w.columns -> 'names', 'null')) AS n (field, value)
     WHERE w.name = 'entities';
END $$;

COMMENT ON FUNCTION ledger.write_entities IS
    'Entities and the names that callers may identify them by.';
REVOKE ALL ON FUNCTION ledger.write_entities FROM PUBLIC;
