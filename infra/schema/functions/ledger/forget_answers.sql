CREATE OR REPLACE FUNCTION ledger.forget_answers(
    in_organisation text
) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM ledger.given_up
     WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '24 hours';
    DELETE FROM ledger.guesses
     WHERE organisation = in_organisation
       AND last_at < clock_timestamp()
                     - CASE WHEN succeeded THEN interval '90 days' ELSE interval '24 hours' END;
    DELETE FROM ledger.outcomes
     WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '7 days';
    WITH forgotten AS (
        DELETE FROM ledger.answers
         WHERE organisation = in_organisation
           AND recorded_at < clock_timestamp() - interval '24 hours' RETURNING 1)
    SELECT count(*) FROM forgotten
$$;

COMMENT ON FUNCTION ledger.forget_answers IS
    'Drops answers to idempotency keys, notes of given up commands and counted guesses that are '
    'older than 24 hours, outcomes of calls after 7 days, and the memory of sources that have '
    'succeeded after 90 days.';
REVOKE ALL ON FUNCTION ledger.forget_answers FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.forget_answers TO crmledger_service;
