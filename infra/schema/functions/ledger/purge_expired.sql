CREATE OR REPLACE FUNCTION ledger.purge_expired(
    in_organisation text
) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM ledger.abandoned_commands
     WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '24 hours';
    DELETE FROM ledger.guesses
     WHERE organisation = in_organisation
       AND last_at < clock_timestamp()
                     - CASE WHEN succeeded THEN interval '90 days' ELSE interval '24 hours' END;
    DELETE FROM ledger.notices
     WHERE organisation = in_organisation AND counted_at < clock_timestamp() - interval '1 hour';
    DELETE FROM ledger.request_outcomes
     WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '7 days';
    DELETE FROM ledger.revoked_keys
     WHERE organisation = in_organisation AND revoked_at < clock_timestamp() - interval '7 days';
    WITH purged AS (
        DELETE FROM ledger.stored_responses
         WHERE organisation = in_organisation
           AND recorded_at < clock_timestamp() - interval '24 hours' RETURNING 1)
    SELECT count(*) FROM purged
$$;

COMMENT ON FUNCTION ledger.purge_expired IS
    'Drops stored responses, notes of abandoned commands and counted guesses that are older than '
    '24 hours, counted notices after an hour, outcomes of calls and revoked keys after 7 days, and '
    'the memory of sources that have succeeded after 90 days.';
REVOKE ALL ON FUNCTION ledger.purge_expired FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.purge_expired TO crmledger_service;
