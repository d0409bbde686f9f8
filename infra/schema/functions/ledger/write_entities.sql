CREATE OR REPLACE FUNCTION ledger.write_entities(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    entity_rows ledger.view_row[] := ARRAY(SELECT r FROM unnest(in_rows) AS r
                                            WHERE r.view = 'entities');
    parsed      jsonb[] := ARRAY(SELECT r.columns::jsonb FROM unnest(entity_rows) AS r);
    former      record;
BEGIN
    INSERT INTO entities (organisation, ref, stream_id, retired, document, refs, owners)
    SELECT in_organisation, (w.parsed ->> 'kind') || '/' || (w.parsed ->> 'id'), w.stream,
           coalesce((w.parsed ->> 'retired')::boolean, false), w.document::json,
           string_to_array(w.refs, ' '),
           ARRAY(SELECT jsonb_array_elements_text(nullif(w.parsed -> 'owners', 'null')))
      FROM unnest(entity_rows, parsed)
               AS w (command, view, stream, version, columns, document, refs, parsed)
    ON CONFLICT (organisation, ref) DO UPDATE
       SET retired = excluded.retired, document = excluded.document, refs = excluded.refs,
           owners = excluded.owners;
    -- One by one, of those that have any: joined, they may be planned as a scan of all identifiers.
    FOR former IN
        SELECT w.columns ->> 'kind' AS kind, w.columns ->> 'id' AS id
          FROM unnest(parsed) AS w (columns),
               LATERAL (SELECT FROM identifiers n
                         WHERE n.organisation = in_organisation AND n.kind = w.columns ->> 'kind'
                           AND n.id = w.columns ->> 'id' LIMIT 1) AS n
         WHERE w.columns ->> 'names' IS NOT NULL
    LOOP
        DELETE FROM identifiers n
         WHERE n.organisation = in_organisation AND n.kind = former.kind AND n.id = former.id;
    END LOOP;
    INSERT INTO identifiers (organisation, kind, field, value, id, retired)
    SELECT in_organisation, w.columns ->> 'kind', n.field, n.value, w.columns ->> 'id',
           coalesce((w.columns ->> 'retired')::boolean, false)
      FROM unnest(parsed) AS w (columns),
           jsonb_each_text(nullif(w.columns -> 'names', 'null')) AS n (field, value);
END $$;

COMMENT ON FUNCTION ledger.write_entities IS
    'Entities and the names that callers may identify them by.';
REVOKE ALL ON FUNCTION ledger.write_entities FROM PUBLIC;
