CREATE OR REPLACE FUNCTION delivery.open_circuit(
    in_organisation text, in_media text, in_failures integer, in_seconds double precision,
    in_error text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- Of several messages that find a server away at the same time, one counts.
    UPDATE delivery.transports s
       SET failures = s.failures + 1, last_error = in_error,
           circuit_open_until = clock_timestamp() + in_seconds * interval '1 second'
     WHERE s.organisation = in_organisation AND s.media = in_media AND s.failures = in_failures
$$;

COMMENT ON FUNCTION delivery.open_circuit IS
    'Leaves a server alone for so many seconds, unless that was done since it had in_failures '
    'failures.';
REVOKE ALL ON FUNCTION delivery.open_circuit FROM PUBLIC;
GRANT EXECUTE ON FUNCTION delivery.open_circuit TO crmledger_service;
