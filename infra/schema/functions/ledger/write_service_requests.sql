CREATE OR REPLACE FUNCTION ledger.write_service_requests(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO service_requests (organisation, id, created, version, document, refs,
           accounts_receivable, contact_information, type, category, life_cycle_state,
           pending_acceptance, due)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, w.document::json, string_to_array(w.refs, ' '),
           r.accounts_receivable, r.contact_information, r.type, r.category, r.life_cycle_state,
           r.pending_acceptance, r.due
      FROM unnest(in_rows) AS w,
           json_to_record(w.columns::json)
               AS r (id text, accounts_receivable text, contact_information text,
                     type text, category text, life_cycle_state text, pending_acceptance boolean,
                     due timestamp)
     WHERE w.view = 'service_requests'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, document = excluded.document, refs = excluded.refs,
           category = excluded.category, life_cycle_state = excluded.life_cycle_state,
           pending_acceptance = excluded.pending_acceptance, due = excluded.due;
END $$;

COMMENT ON FUNCTION ledger.write_service_requests IS 'Service requests.';
REVOKE ALL ON FUNCTION ledger.write_service_requests FROM PUBLIC;
