CREATE OR REPLACE FUNCTION ledger.revoke_key(
    in_organisation text, in_caller text, in_key text, in_per_hour integer
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever holds the lock is still deciding; whoever takes it later finds the key revoked.
    PERFORM pg_advisory_xact_lock(ledger.append_lock(in_organisation));
    IF (SELECT count(*) FROM ledger.revoked_keys s
         WHERE s.organisation = in_organisation AND s.caller = in_caller AND s.key <> in_key
           AND s.revoked_at > clock_timestamp() - interval '1 hour') >= in_per_hour
    THEN
        RETURN false;
    END IF;
    INSERT INTO ledger.revoked_keys (organisation, caller, key, revoked_at)
    SELECT in_organisation, in_caller, in_key, clock_timestamp()
     WHERE NOT EXISTS (SELECT FROM ledger.request_outcomes o
                        WHERE o.organisation = in_organisation AND o.caller = in_caller
                          AND o.key = in_key)
    ON CONFLICT DO NOTHING;
    RETURN true;
END $$;

COMMENT ON FUNCTION ledger.revoke_key IS
    'Forbids a key to its caller, unless a call with it was written. False, and nothing is done, '
    'if the caller has revoked so many in an hour.';
REVOKE ALL ON FUNCTION ledger.revoke_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.revoke_key TO crmledger_service;
