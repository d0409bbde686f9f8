-- Webhooks: how far each subscription has come in its ledger, what still waits to be acknowledged,
-- and a log. What is subscribed to is a registered record; its secret lies sealed in
-- ledger.secrets.

CREATE INDEX records_webhooks ON views.records (organisation, id) WHERE kind = 'webhook';

CREATE TABLE webhooks.subscriptions (
    organisation     text        NOT NULL,
    webhook          text        NOT NULL,
    position         bigint      NOT NULL CHECK (position >= 0),
    position_hash    bytea       NOT NULL,
    epoch            integer     NOT NULL DEFAULT 0,
    state            text        NOT NULL DEFAULT 'ACTIVE'
        CHECK (state IN ('ACTIVE', 'PAUSED', 'GONE')),
    state_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered_at     timestamptz,
    lease_holder     uuid,
    lease_expires_at timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (organisation, webhook)
);
COMMENT ON TABLE webhooks.subscriptions IS
    'How far each subscription has come in its ledger, and which process may deliver.';
COMMENT ON COLUMN webhooks.subscriptions.webhook IS 'The id of the registered record.';
COMMENT ON COLUMN webhooks.subscriptions.position IS
    'Events up to here are acknowledged, not subscribed to, or pending. Moved in the statement '
    'that makes them pending, and only from where its writer has read it.';
COMMENT ON COLUMN webhooks.subscriptions.position_hash IS
    'The hash of the event at that position: another one there means that the ledger is not the '
    'one that was told of.';
COMMENT ON COLUMN webhooks.subscriptions.epoch IS
    'Raised by operators who replay or resume: what was under way before counts no more.';
COMMENT ON COLUMN webhooks.subscriptions.state IS
    'PAUSED: an event was not acknowledged for too long; GONE: the consumer answered 410. Both '
    'end by an operator''s resume.';
COMMENT ON COLUMN webhooks.subscriptions.lease_expires_at IS
    'When the lease ends unless it is renewed, by the database''s clock.';

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
COMMENT ON TABLE webhooks.pending IS
    'Events that wait for a 2xx. An event is sent when no earlier one about its entity waits.';
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
COMMENT ON TABLE webhooks.attempts IS
    'The delivery log: each request and what came of it, never what it said. The last 10,000 of a '
    'subscription in 30 days.';
COMMENT ON COLUMN webhooks.attempts.try IS 'Which try of the event it was, from 1.';
COMMENT ON COLUMN webhooks.attempts.status IS
    'The HTTP status that was answered; null if there was none.';

GRANT SELECT ON ALL TABLES IN SCHEMA webhooks TO crmledger_service, crmledger_deliverer;
GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA webhooks TO crmledger_deliverer;
