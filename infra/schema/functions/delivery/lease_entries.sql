CREATE OR REPLACE FUNCTION delivery.lease_entries(
    in_organisation text, in_media text, in_version integer, in_most integer, in_at_once integer,
    in_per_second double precision, in_seconds double precision
) RETURNS TABLE (entry text, fence bigint, tries integer, sent boolean, failures integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    server delivery.transports;
    moment timestamptz;
    room   bigint;
    due    timestamptz;
    taken  integer;
BEGIN
    INSERT INTO delivery.transports (organisation, media) VALUES (in_organisation, in_media)
    ON CONFLICT DO NOTHING;
    -- Whoever comes while another process takes entries for this server has nothing to wait for.
    SELECT s.* INTO server FROM delivery.transports s
     WHERE s.organisation = in_organisation AND s.media = in_media FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF in_version > server.version THEN
        UPDATE delivery.transports s
           SET version = in_version, failures = 0, circuit_open_until = '-infinity',
               last_error = NULL
         WHERE s.organisation = in_organisation AND s.media = in_media RETURNING s.* INTO server;
    END IF;
    moment := clock_timestamp();
    IF server.circuit_open_until > moment THEN
        RETURN;
    END IF;
    -- One message alone finds out whether a server that has failed is back.
    SELECT CASE WHEN server.failures > 0 THEN 1 ELSE in_at_once END - count(*) INTO room
      FROM delivery.entries d
     WHERE d.organisation = in_organisation AND d.media = in_media AND d.lease_expires_at > moment;
    -- What was not sent in a quiet time is not made up for: a second's worth at most, one message
    -- at least.
    due := greatest(server.next_at,
                    moment - greatest(1.0, 1.0 / in_per_second) * interval '1 second');
    room := least(room, in_most,
                  floor(extract(epoch FROM moment - due)::float8 * in_per_second)::bigint);
    IF room < 1 THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH chosen AS (
        SELECT q.id, row_number() OVER (ORDER BY q.created) AS n
          FROM views.queue_entries q
         WHERE q.organisation = in_organisation AND q.media = in_media
           AND q.life_cycle_state = 'PENDING' AND q.external_system IS NULL
           -- Scalar questions, asked of one entry after the other until there are enough: a join
           -- would look at all.
           AND coalesce((SELECT d.lease_expires_at <= moment AND d.next_try_at <= moment
                           FROM delivery.entries d
                          WHERE d.organisation = in_organisation AND d.entry = q.id), true)
           AND q.created = (
               SELECT e.created FROM views.queue_entries e
                WHERE e.organisation = in_organisation AND e.media = in_media
                  AND e.contact_information = q.contact_information
                  AND e.life_cycle_state = 'PENDING' AND e.external_system IS NULL
                ORDER BY e.created LIMIT 1)
         ORDER BY q.created LIMIT room
    )
    INSERT INTO delivery.entries AS d
           (organisation, entry, media, fence, lease_expires_at, next_try_at)
    SELECT in_organisation, c.id, in_media, server.fence + c.n,
           moment + in_seconds * interval '1 second', moment
      FROM chosen c
    ON CONFLICT (organisation, entry) DO UPDATE
       SET fence = excluded.fence, lease_expires_at = excluded.lease_expires_at
    RETURNING d.entry, d.fence, d.tries, d.sent, server.failures;
    GET DIAGNOSTICS taken = ROW_COUNT;
    UPDATE delivery.transports s
       SET fence = s.fence + taken, next_at = due + taken / in_per_second * interval '1 second'
     WHERE s.organisation = in_organisation AND s.media = in_media AND taken > 0;
END $$;

COMMENT ON FUNCTION delivery.lease_entries IS
    'Leases entries that wait to be sent without an external system: at most in_most, in_at_once '
    'for all processes together and in_per_second; of each contact only the first, so that their '
    'order is kept.';
REVOKE ALL ON FUNCTION delivery.lease_entries FROM PUBLIC;
GRANT EXECUTE ON FUNCTION delivery.lease_entries TO crmledger_service;
