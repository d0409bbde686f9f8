CREATE OR REPLACE FUNCTION ledger.write_communications(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO communications (organisation, id, created, version, document, refs, code,
           contact_information, category, direction, media, life_cycle_state)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, w.document::json, string_to_array(w.refs, ' '),
           r.code, r.contact_information, r.category, r.direction, r.media, r.life_cycle_state
      FROM unnest(in_rows) AS w,
           json_to_record(w.columns::json)
               AS r (id text, code text, contact_information text, category text,
               direction text, media text, life_cycle_state text)
     WHERE w.view = 'communications'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, document = excluded.document, refs = excluded.refs,
           category = excluded.category, direction = excluded.direction, media = excluded.media,
           life_cycle_state = excluded.life_cycle_state;
END $$;

COMMENT ON FUNCTION ledger.write_communications IS 'Communications.';
REVOKE ALL ON FUNCTION ledger.write_communications FROM PUBLIC;
