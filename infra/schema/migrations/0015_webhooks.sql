-- Webhooks: how far each subscription has come in its ledger, what still waits to be acknowledged, and a log.
-- What is subscribed to is a registered record; its secret lies sealed in ledger.secrets.

COMMENT ON TABLE ledger.secrets IS 'Verifiers of passwords and keys, never the secrets; what webhooks are signed with, sealed by the service key. Events name them by key_id.';

CREATE INDEX records_webhooks ON views.records (organisation, id) WHERE kind = 'webhook';

CREATE SCHEMA webhooks;
COMMENT ON SCHEMA webhooks IS 'What subscribers have been told of the ledger. Written by `crmledger deliver`, and by operators through functions.';

CREATE TABLE webhooks.subscriptions (
    organisation text        NOT NULL,
    webhook      text        NOT NULL,
    position     bigint      NOT NULL CHECK (position >= 0),
    mark         bytea       NOT NULL,
    round        integer     NOT NULL DEFAULT 0,
    state        text        NOT NULL DEFAULT 'ACTIVE' CHECK (state IN ('ACTIVE', 'PAUSED', 'GONE')),
    state_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at timestamptz,
    holder       uuid,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (organisation, webhook)
);
COMMENT ON TABLE webhooks.subscriptions IS 'How far each subscription has come in its ledger, and which process may deliver.';
COMMENT ON COLUMN webhooks.subscriptions.webhook IS 'The id of the registered record.';
COMMENT ON COLUMN webhooks.subscriptions.position IS 'Events up to here are acknowledged, not subscribed to, or pending. Moved in the statement that makes them pending, and only from where its writer has read it.';
COMMENT ON COLUMN webhooks.subscriptions.mark IS 'The hash of the event at that position: another one there means that the ledger is not the one that was told of.';
COMMENT ON COLUMN webhooks.subscriptions.round IS 'Raised by operators who replay or resume: what was under way before counts no more.';
COMMENT ON COLUMN webhooks.subscriptions.state IS 'PAUSED: an event was not acknowledged for too long; GONE: the consumer answered 410. Both end by an operator''s resume.';
COMMENT ON COLUMN webhooks.subscriptions.held_until IS 'When the lease ends unless it is renewed, by the database''s clock.';

CREATE TABLE webhooks.pending (
    organisation text        NOT NULL,
    webhook      text        NOT NULL,
    position     bigint      NOT NULL,
    stream_id    uuid        NOT NULL,
    entity       text        NOT NULL,
    tries        integer     NOT NULL DEFAULT 0,
    first_try_at timestamptz,
    next_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (organisation, webhook, position)
);
CREATE INDEX pending_by_stream ON webhooks.pending (organisation, webhook, stream_id, position);
COMMENT ON TABLE webhooks.pending IS 'Events that wait for a 2xx. An event is sent when no earlier one about its entity waits.';
COMMENT ON COLUMN webhooks.pending.entity IS 'What the event is about, as kind/id.';
COMMENT ON COLUMN webhooks.pending.tries IS 'How often it was sent in vain.';
COMMENT ON COLUMN webhooks.pending.next_at IS 'Not before then it is sent.';

CREATE TABLE webhooks.attempts (
    organisation text        NOT NULL,
    webhook      text        NOT NULL,
    number       bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    position     bigint      NOT NULL,
    try          integer     NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    milliseconds integer     NOT NULL,
    outcome      text        NOT NULL,
    status       integer,
    PRIMARY KEY (organisation, webhook, number)
);
COMMENT ON TABLE webhooks.attempts IS 'The delivery log: each request and what came of it, never what it said. The last 10,000 of a subscription in 30 days.';
COMMENT ON COLUMN webhooks.attempts.try IS 'Which try of the event it was, from 1.';
COMMENT ON COLUMN webhooks.attempts.status IS 'The HTTP status that was answered; null if there was none.';

CREATE FUNCTION webhooks.standing(in_organisation text DEFAULT NULL) RETURNS TABLE (
    organisation text, webhook text, document json, retired boolean, "position" bigint, round integer, state text,
    state_at timestamptz, delivered_at timestamptz, head bigint, pending bigint, due bigint, failing_since timestamptz,
    lag_positions bigint, lag_seconds double precision
) LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.organisation, r.id, r.document, r.retired, c.position, coalesce(s.round, 0), coalesce(s.state, 'ACTIVE'),
           s.state_at, s.delivered_at, h.head, p.pending, p.due, p.failing_since,
           h.head - c.position + CASE WHEN p.oldest IS NULL THEN 0 ELSE c.position - p.oldest + 1 END,
           coalesce((SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)::float8 FROM ledger.events e
                      WHERE e.organisation = r.organisation AND e.position = coalesce(p.oldest, c.position + 1)), 0)
      FROM views.records r
      LEFT JOIN webhooks.subscriptions s ON s.organisation = r.organisation AND s.webhook = r.id,
           LATERAL (SELECT coalesce(s.position, r.created) AS position) AS c,
           LATERAL (SELECT coalesce(max(e.position), 0) AS head FROM ledger.events e
                     WHERE e.organisation = r.organisation) AS h,
           LATERAL (SELECT count(*) AS pending, count(*) FILTER (WHERE w.next_at <= clock_timestamp()) AS due,
                           min(w.position) AS oldest, min(w.first_try_at) AS failing_since
                      FROM webhooks.pending w WHERE w.organisation = r.organisation AND w.webhook = r.id) AS p
     WHERE r.kind = 'webhook' AND (in_organisation IS NULL OR r.organisation = in_organisation)
     ORDER BY r.organisation, r.id
$$;
COMMENT ON FUNCTION webhooks.standing IS 'How every subscription stands, of one organisation or of all. It lags by the first event that is neither acknowledged nor passed over; it begins after its own registration.';

CREATE FUNCTION webhooks.signing_secrets(in_organisation text, in_webhook text) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.verifier FROM ledger.secrets s
     WHERE s.organisation = in_organisation AND s.owner = 'webhook/' || in_webhook
       AND s.name IN ('secret', 'former_secret') AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
     ORDER BY s.name DESC
$$;
COMMENT ON FUNCTION webhooks.signing_secrets IS 'What a subscription is signed with, sealed: its secret, and for a while the one before.';

CREATE FUNCTION webhooks.replay(in_organisation text, in_webhook text, in_from bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before bytea;
BEGIN
    -- Appends do not matter here: positions below the head stay as they are.
    IF in_from < 1 OR in_from > 1 + coalesce((SELECT max(e.position) FROM ledger.events e
                                               WHERE e.organisation = in_organisation), 0) THEN
        RETURN false;
    END IF;
    SELECT e.event_hash INTO before FROM ledger.events e
     WHERE e.organisation = in_organisation AND e.position = in_from - 1;
    INSERT INTO webhooks.subscriptions AS s (organisation, webhook, position, mark)
    SELECT in_organisation, r.id, in_from - 1, coalesce(before, '')
      FROM views.records r
     WHERE r.organisation = in_organisation AND r.kind = 'webhook' AND r.id = in_webhook
       AND in_from - 1 <= coalesce((SELECT t.position FROM webhooks.subscriptions t
                                     WHERE t.organisation = in_organisation AND t.webhook = in_webhook), r.created)
    ON CONFLICT (organisation, webhook) DO UPDATE
       SET position = excluded.position, mark = excluded.mark, round = s.round + 1
     WHERE s.position >= excluded.position;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM webhooks.pending p
     WHERE p.organisation = in_organisation AND p.webhook = in_webhook AND p.position >= in_from;
    RETURN true;
END $$;
COMMENT ON FUNCTION webhooks.replay IS 'Has everything from a position on told again; false if that would pass over what was not told, or there is no such position or subscription.';

CREATE FUNCTION webhooks.resume(in_organisation text, in_webhook text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE webhooks.subscriptions
       SET state = 'ACTIVE', state_at = clock_timestamp(), round = round + 1
     WHERE organisation = in_organisation AND webhook = in_webhook;
    UPDATE webhooks.pending
       SET tries = 0, first_try_at = NULL, next_at = clock_timestamp()
     WHERE organisation = in_organisation AND webhook = in_webhook;
$$;
COMMENT ON FUNCTION webhooks.resume IS 'Has what waits sent at once, and counts the tries anew; ends PAUSED and GONE.';

SELECT ledger.have_role('crmledger_deliverer');
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA webhooks FROM PUBLIC;
GRANT USAGE ON SCHEMA webhooks TO crmledger_service, crmledger_deliverer;
GRANT SELECT ON ALL TABLES IN SCHEMA webhooks TO crmledger_service, crmledger_deliverer;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA webhooks TO crmledger_deliverer;
GRANT EXECUTE ON FUNCTION webhooks.standing TO crmledger_service, crmledger_deliverer;
GRANT EXECUTE ON FUNCTION webhooks.signing_secrets TO crmledger_deliverer;
GRANT EXECUTE ON FUNCTION webhooks.replay, webhooks.resume TO crmledger_service;
GRANT USAGE ON SCHEMA ledger TO crmledger_deliverer;
GRANT SELECT ON ledger.events TO crmledger_deliverer;
GRANT SELECT ON schema_migrations TO crmledger_deliverer;
