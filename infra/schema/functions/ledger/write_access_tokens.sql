CREATE OR REPLACE FUNCTION ledger.write_access_tokens(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO access_tokens (organisation, id, created, version, document, refs, classification,
           accounts_receivable, rewards_participant, associated, life_cycle_state,
           session_epoch)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, w.document::json, string_to_array(w.refs, ' '),
           r.classification, r.accounts_receivable, r.rewards_participant, r.associated,
           r.life_cycle_state, r.session_epoch
      FROM unnest(in_rows) AS w,
           json_to_record(w.columns::json)
               AS r (id text, classification text, accounts_receivable text,
               rewards_participant text, associated boolean, life_cycle_state text,
               session_epoch integer)
     WHERE w.view = 'access_tokens'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, document = excluded.document, refs = excluded.refs,
           associated = excluded.associated, life_cycle_state = excluded.life_cycle_state,
           session_epoch = excluded.session_epoch;
END $$;

COMMENT ON FUNCTION ledger.write_access_tokens IS 'Access tokens.';
REVOKE ALL ON FUNCTION ledger.write_access_tokens FROM PUBLIC;
