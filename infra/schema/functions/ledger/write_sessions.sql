CREATE OR REPLACE FUNCTION ledger.write_sessions(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sessions (organisation, id, created, version, user_id, unit_id, expires_at,
           released, access_token, account, contact, user_epoch, customer_epochs)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, r.user_id, r.unit_id, r.expires_at, r.released, r.access_token, r.account,
           r.contact, r.user_epoch, r.customer_epochs
      FROM unnest(in_rows) AS w,
           json_to_record(w.columns::json)
               AS r (id text, user_id text, unit_id text, expires_at bigint, released boolean,
                     access_token text, account text, contact text, user_epoch integer,
                     customer_epochs json)
     WHERE w.view = 'sessions'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, released = excluded.released;
END $$;

COMMENT ON FUNCTION ledger.write_sessions IS 'Sessions.';
REVOKE ALL ON FUNCTION ledger.write_sessions FROM PUBLIC;
