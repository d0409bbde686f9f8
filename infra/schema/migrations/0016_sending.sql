-- Sending: which entry of the queue is being sent by whom, how often that was tried, and how the servers behave.
-- None of it is history: what became of an entry is an event, and its rows here go.

CREATE SCHEMA outward;
COMMENT ON SCHEMA outward IS 'What is on its way out: leases and tries, never outcomes and no personal data.';

CREATE TABLE outward.servers (
    organisation text        NOT NULL,
    media        text        NOT NULL,
    fence        bigint      NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT '-infinity',
    failures     integer     NOT NULL DEFAULT 0,
    rests_until  timestamptz NOT NULL DEFAULT '-infinity',
    last_error   text,
    version      integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (organisation, media)
);
COMMENT ON TABLE outward.servers IS 'The e-mail server and the SMS gateway of each organisation; whoever takes entries for one holds its row.';
COMMENT ON COLUMN outward.servers.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN outward.servers.media IS 'EMAIL or SMS.';
COMMENT ON COLUMN outward.servers.fence IS 'The last fencing number that was given out; each lease has a higher one.';
COMMENT ON COLUMN outward.servers.next_at IS 'When the next message is due at the rate that was set (generic cell rate algorithm).';
COMMENT ON COLUMN outward.servers.failures IS 'How often in a row it could not be used at all.';
COMMENT ON COLUMN outward.servers.rests_until IS 'Nothing is tried before.';
COMMENT ON COLUMN outward.servers.version IS 'The version of the organisation''s record by which it is used; with a newer one it is tried at once.';
COMMENT ON COLUMN outward.servers.last_error IS 'The code of the last such failure; null once it has dealt with a message.';

CREATE TABLE outward.deliveries (
    organisation text        NOT NULL,
    entry        text        NOT NULL,
    media        text        NOT NULL,
    fence        bigint      NOT NULL,
    leased_until timestamptz NOT NULL,
    next_try_at  timestamptz NOT NULL,
    tries        integer     NOT NULL DEFAULT 0,
    sent         boolean     NOT NULL DEFAULT false,
    last_error   text,
    PRIMARY KEY (organisation, entry)
);
CREATE INDEX deliveries_by_media ON outward.deliveries (organisation, media, leased_until);
COMMENT ON TABLE outward.deliveries IS 'Entries of the queue that are being sent or wait for their next try.';
COMMENT ON COLUMN outward.deliveries.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN outward.deliveries.entry IS 'The id of the queue entry.';
COMMENT ON COLUMN outward.deliveries.media IS 'EMAIL or SMS.';
COMMENT ON COLUMN outward.deliveries.fence IS 'The number of the last lease; whoever has another one has lost it.';
COMMENT ON COLUMN outward.deliveries.leased_until IS 'Until then the entry is its holder''s, by this server''s clock.';
COMMENT ON COLUMN outward.deliveries.next_try_at IS 'It is not tried before.';
COMMENT ON COLUMN outward.deliveries.tries IS 'How often it was tried and put off.';
COMMENT ON COLUMN outward.deliveries.sent IS 'The server has taken the message; only the event is missing.';
COMMENT ON COLUMN outward.deliveries.last_error IS 'The code with which it was put off last.';

-- What the sender looks for: the oldest of its own entries, and whether a contact has an earlier one.
CREATE INDEX queue_entries_own ON views.queue_entries (organisation, media, created)
    WHERE life_cycle_state = 'PENDING' AND external_system IS NULL;
CREATE INDEX queue_entries_own_contact ON views.queue_entries (organisation, media, contact_information, created)
    WHERE life_cycle_state = 'PENDING' AND external_system IS NULL;

CREATE FUNCTION outward.claim(
    in_organisation text, in_media text, in_version integer, in_most integer, in_at_once integer,
    in_per_second double precision, in_seconds double precision
) RETURNS TABLE (entry text, fence bigint, tries integer, sent boolean, failures integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    server outward.servers;
    moment timestamptz;
    room   bigint;
    due    timestamptz;
    taken  integer;
BEGIN
    INSERT INTO outward.servers (organisation, media) VALUES (in_organisation, in_media) ON CONFLICT DO NOTHING;
    -- Whoever comes while another process takes entries for this server has nothing to wait for.
    SELECT s.* INTO server FROM outward.servers s
     WHERE s.organisation = in_organisation AND s.media = in_media FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF in_version > server.version THEN
        UPDATE outward.servers s
           SET version = in_version, failures = 0, rests_until = '-infinity', last_error = NULL
         WHERE s.organisation = in_organisation AND s.media = in_media RETURNING s.* INTO server;
    END IF;
    moment := clock_timestamp();
    IF server.rests_until > moment THEN
        RETURN;
    END IF;
    -- One message alone finds out whether a server that has failed is back.
    SELECT CASE WHEN server.failures > 0 THEN 1 ELSE in_at_once END - count(*) INTO room
      FROM outward.deliveries d
     WHERE d.organisation = in_organisation AND d.media = in_media AND d.leased_until > moment;
    -- What was not sent in a quiet time is not made up for: a second's worth at most, one message at least.
    due := greatest(server.next_at, moment - greatest(1.0, 1.0 / in_per_second) * interval '1 second');
    room := least(room, in_most, floor(extract(epoch FROM moment - due)::float8 * in_per_second)::bigint);
    IF room < 1 THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH chosen AS (
        SELECT q.id, row_number() OVER (ORDER BY q.created) AS n
          FROM views.queue_entries q
         WHERE q.organisation = in_organisation AND q.media = in_media
           AND q.life_cycle_state = 'PENDING' AND q.external_system IS NULL
           -- Scalar questions, asked of one entry after the other until there are enough: a join would look at all.
           AND coalesce((SELECT d.leased_until <= moment AND d.next_try_at <= moment FROM outward.deliveries d
                          WHERE d.organisation = in_organisation AND d.entry = q.id), true)
           AND q.created = (
               SELECT e.created FROM views.queue_entries e
                WHERE e.organisation = in_organisation AND e.media = in_media
                  AND e.contact_information = q.contact_information
                  AND e.life_cycle_state = 'PENDING' AND e.external_system IS NULL
                ORDER BY e.created LIMIT 1)
         ORDER BY q.created LIMIT room
    )
    INSERT INTO outward.deliveries AS d (organisation, entry, media, fence, leased_until, next_try_at)
    SELECT in_organisation, c.id, in_media, server.fence + c.n, moment + in_seconds * interval '1 second', moment
      FROM chosen c
    ON CONFLICT (organisation, entry) DO UPDATE SET fence = excluded.fence, leased_until = excluded.leased_until
    RETURNING d.entry, d.fence, d.tries, d.sent, server.failures;
    GET DIAGNOSTICS taken = ROW_COUNT;
    UPDATE outward.servers s
       SET fence = s.fence + taken, next_at = due + taken / in_per_second * interval '1 second'
     WHERE s.organisation = in_organisation AND s.media = in_media AND taken > 0;
END $$;
COMMENT ON FUNCTION outward.claim IS
    'Leases entries that wait to be sent without an external system: at most in_most, in_at_once for all processes together and in_per_second; of each contact only the first, so that their order is kept.';

CREATE FUNCTION outward.hold(in_organisation text, in_entry text, in_fence bigint, in_sent boolean, in_seconds double precision)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text;
BEGIN
    UPDATE outward.deliveries d
       SET sent = d.sent OR in_sent, leased_until = clock_timestamp() + in_seconds * interval '1 second'
     WHERE d.organisation = in_organisation AND d.entry = in_entry AND d.fence = in_fence
    RETURNING d.media INTO held;
    UPDATE outward.servers s SET failures = 0, last_error = NULL
     WHERE s.organisation = in_organisation AND s.media = held AND s.failures > 0;
    RETURN held IS NOT NULL;
END $$;
COMMENT ON FUNCTION outward.hold IS
    'Whether the lease of that number still stands; if so it is prolonged, for its outcome to be recorded, and it is noted whether the message was sent.';

CREATE FUNCTION outward.put_off(
    in_organisation text, in_entry text, in_fence bigint, in_tries integer, in_seconds double precision, in_error text
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held text;
BEGIN
    UPDATE outward.deliveries d
       SET tries = d.tries + in_tries, last_error = in_error, leased_until = clock_timestamp(),
           next_try_at = clock_timestamp() + in_seconds * interval '1 second', fence = 0
     WHERE d.organisation = in_organisation AND d.entry = in_entry AND d.fence = in_fence
    RETURNING d.media INTO held;
    UPDATE outward.servers s SET failures = 0, last_error = NULL
     WHERE s.organisation = in_organisation AND s.media = held AND s.failures > 0 AND in_tries > 0;
    RETURN held IS NOT NULL;
END $$;
COMMENT ON FUNCTION outward.put_off IS
    'Gives a lease back and counts in_tries tries, none where the server could not be used; the entry is not tried again within so many seconds.';

CREATE FUNCTION outward.rest(
    in_organisation text, in_media text, in_failures integer, in_seconds double precision, in_error text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    -- Of several messages that find a server away at the same time, one counts.
    UPDATE outward.servers s
       SET failures = s.failures + 1, last_error = in_error,
           rests_until = clock_timestamp() + in_seconds * interval '1 second'
     WHERE s.organisation = in_organisation AND s.media = in_media AND s.failures = in_failures
$$;
COMMENT ON FUNCTION outward.rest IS
    'Leaves a server alone for so many seconds, unless that was done since it had in_failures failures.';

CREATE FUNCTION outward.done(in_organisation text, in_entry text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM outward.deliveries d WHERE d.organisation = in_organisation AND d.entry = in_entry
       AND NOT EXISTS (SELECT FROM views.queue_entries q
                        WHERE q.organisation = in_organisation AND q.id = in_entry AND q.life_cycle_state = 'PENDING')
$$;
COMMENT ON FUNCTION outward.done IS 'Drops what is kept of an entry whose outcome is an event.';

CREATE FUNCTION outward.sweep(in_organisation text)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM outward.deliveries d
     WHERE d.organisation = in_organisation AND d.leased_until < clock_timestamp()
       AND NOT EXISTS (SELECT FROM views.queue_entries q
                        WHERE q.organisation = in_organisation AND q.id = d.entry AND q.life_cycle_state = 'PENDING')
$$;
COMMENT ON FUNCTION outward.sweep IS 'Drops what is kept of entries that others have decided.';

COMMENT ON TABLE ledger.secrets IS
    'Verifiers of passwords and keys, never the secrets; events name them by key_id. What the service must show to others itself (the password of an e-mail server) is sealed with the service key instead.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA outward FROM PUBLIC;
GRANT USAGE ON SCHEMA outward TO crmledger_service;
GRANT SELECT ON ALL TABLES IN SCHEMA outward TO crmledger_service;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA outward TO crmledger_service;
