CREATE OR REPLACE FUNCTION delivery.defer(
    in_organisation text, in_entry text, in_fence bigint, in_tries integer,
    in_seconds double precision, in_error text
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text;
BEGIN
    UPDATE delivery.entries d
       SET tries = d.tries + in_tries, last_error = in_error, lease_expires_at = clock_timestamp(),
           next_try_at = clock_timestamp() + in_seconds * interval '1 second', fence = 0
     WHERE d.organisation = in_organisation AND d.entry = in_entry AND d.fence = in_fence
    RETURNING d.media INTO held;
    UPDATE delivery.transports s SET failures = 0, last_error = NULL
     WHERE s.organisation = in_organisation AND s.media = held AND s.failures > 0 AND in_tries > 0;
    RETURN held IS NOT NULL;
END $$;

COMMENT ON FUNCTION delivery.defer IS
    'Gives a lease back and counts in_tries tries, none where the server could not be used; the '
    'entry is not tried again within so many seconds.';
REVOKE ALL ON FUNCTION delivery.defer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION delivery.defer TO crmledger_service;
