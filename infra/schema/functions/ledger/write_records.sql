CREATE OR REPLACE FUNCTION ledger.write_records(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO records (organisation, kind, id, created, changed, version, directory, retired,
           document, session_epoch)
    SELECT in_organisation, r.kind, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream
               AND e.version = w.version),
           w.version, r.directory, r.retired,
           w.document::json, r.session_epoch
      FROM unnest(in_rows) AS w,
           json_to_record(w.columns::json)
               AS r (kind text, id text, directory boolean, retired boolean, session_epoch integer)
     WHERE w.view = 'records'
    ON CONFLICT (organisation, kind, id) DO UPDATE
       SET changed = excluded.changed, version = excluded.version, retired = excluded.retired,
           document = excluded.document, session_epoch = excluded.session_epoch;
END $$;

COMMENT ON FUNCTION ledger.write_records IS 'Registered records.';
REVOKE ALL ON FUNCTION ledger.write_records FROM PUBLIC;
