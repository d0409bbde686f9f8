CREATE OR REPLACE FUNCTION delivery.renew_lease(
    in_organisation text, in_entry text, in_fence bigint,
    in_sent boolean, in_seconds double precision
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text;
BEGIN
    UPDATE delivery.entries d
       SET sent = d.sent OR in_sent,
           lease_expires_at = clock_timestamp() + in_seconds * interval '1 second'
     WHERE d.organisation = in_organisation AND d.entry = in_entry AND d.fence = in_fence
    RETURNING d.media INTO held;
    UPDATE delivery.transports s SET failures = 0, last_error = NULL
     WHERE s.organisation = in_organisation AND s.media = held AND s.failures > 0;
    RETURN held IS NOT NULL;
END $$;

COMMENT ON FUNCTION delivery.renew_lease IS
    'Whether the lease of that number still stands; if so it is prolonged, for its outcome to be '
    'recorded, and it is noted whether the message was sent.';
REVOKE ALL ON FUNCTION delivery.renew_lease FROM PUBLIC;
GRANT EXECUTE ON FUNCTION delivery.renew_lease TO crmledger_service;
