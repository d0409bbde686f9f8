CREATE OR REPLACE FUNCTION ledger.settle_key(
    in_organisation text, in_caller text, in_key text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever holds the lock is still deciding; whoever takes it later finds the key settled.
    PERFORM pg_advisory_xact_lock(ledger.append_lock(in_organisation));
    INSERT INTO ledger.settled_keys (organisation, caller, key, settled_at)
    SELECT in_organisation, in_caller, in_key, clock_timestamp()
     WHERE NOT EXISTS (SELECT FROM ledger.outcomes o
                        WHERE o.organisation = in_organisation AND o.caller = in_caller
                          AND o.key = in_key)
    ON CONFLICT DO NOTHING;
END $$;

COMMENT ON FUNCTION ledger.settle_key IS
    'Forbids a key to its caller for ever, unless a call with it was written.';
REVOKE ALL ON FUNCTION ledger.settle_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.settle_key TO crmledger_service;
