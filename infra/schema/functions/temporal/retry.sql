CREATE OR REPLACE FUNCTION temporal.retry(
    in_organisation text, in_stream uuid, in_reason text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE projection.parked
       SET tries = tries + 1, tried_at = clock_timestamp(), reason = coalesce(in_reason, reason)
     WHERE organisation = in_organisation AND view = 'history' AND stream_id = in_stream;
    IF FOUND AND in_reason IS NULL THEN
        PERFORM temporal.invalidate(in_organisation, ARRAY[in_stream]);
    END IF;
END $$;

COMMENT ON FUNCTION temporal.retry IS
    'Notes that an entity that is parked was tried again. If there is no reason any more, what '
    'history has of it is dropped, so that it is folded anew as a whole.';
REVOKE ALL ON FUNCTION temporal.retry FROM PUBLIC;
GRANT EXECUTE ON FUNCTION temporal.retry TO crmledger_service;
