CREATE OR REPLACE FUNCTION ledger.write_queue_entries(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO queue_entries (organisation, id, created, version, document, refs, communication,
           contact_information, media, external_system, life_cycle_state)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, w.document::json, string_to_array(w.refs, ' '),
           r.communication, r.contact_information, r.media, r.external_system, r.life_cycle_state
      FROM unnest(in_rows) AS w,
           json_to_record(w.columns::json)
               AS r (id text, communication text, contact_information text,
               media text, external_system text, life_cycle_state text)
     WHERE w.view = 'queue_entries'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, document = excluded.document, refs = excluded.refs,
           life_cycle_state = excluded.life_cycle_state;
END $$;

COMMENT ON FUNCTION ledger.write_queue_entries IS 'Entries of the sending queue.';
REVOKE ALL ON FUNCTION ledger.write_queue_entries FROM PUBLIC;
