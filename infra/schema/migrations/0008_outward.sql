-- Sending: which entry of the queue is being sent by whom, how often that was tried, and how the
-- servers behave. None of it is history: what became of an entry is a fact, and its rows here go.

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
COMMENT ON TABLE outward.servers IS
    'The e-mail server and the SMS gateway of each organisation; whoever takes entries for one '
    'holds its row.';
COMMENT ON COLUMN outward.servers.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN outward.servers.media IS 'EMAIL or SMS.';
COMMENT ON COLUMN outward.servers.fence IS
    'The last fencing number that was given out; each lease has a higher one.';
COMMENT ON COLUMN outward.servers.next_at IS
    'When the next message is due at the rate that was set (generic cell rate algorithm).';
COMMENT ON COLUMN outward.servers.failures IS 'How often in a row it could not be used at all.';
COMMENT ON COLUMN outward.servers.rests_until IS 'Nothing is tried before.';
COMMENT ON COLUMN outward.servers.last_error IS
    'The code of the last such failure; null once it has dealt with a message.';
COMMENT ON COLUMN outward.servers.version IS
    'The version of the organisation''s record by which it is used; with a newer one it is tried '
    'at once.';

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
COMMENT ON TABLE outward.deliveries IS
    'Entries of the queue that are being sent or wait for their next try.';
COMMENT ON COLUMN outward.deliveries.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN outward.deliveries.entry IS 'The id of the queue entry.';
COMMENT ON COLUMN outward.deliveries.media IS 'EMAIL or SMS.';
COMMENT ON COLUMN outward.deliveries.fence IS
    'The number of the last lease; whoever has another one has lost it.';
COMMENT ON COLUMN outward.deliveries.leased_until IS
    'Until then the entry is its holder''s, by this server''s clock.';
COMMENT ON COLUMN outward.deliveries.next_try_at IS 'It is not tried before.';
COMMENT ON COLUMN outward.deliveries.tries IS 'How often it was tried and put off.';
COMMENT ON COLUMN outward.deliveries.sent IS
    'The server has taken the message; only the fact is missing.';
COMMENT ON COLUMN outward.deliveries.last_error IS 'The code with which it was put off last.';

-- What the sender looks for: the oldest of its own entries, and whether a contact has an earlier
-- one.
CREATE INDEX queue_entries_own
    ON views.queue_entries (organisation, media, created)
    WHERE life_cycle_state = 'PENDING' AND external_system IS NULL;
CREATE INDEX queue_entries_own_contact
    ON views.queue_entries (organisation, media, contact_information, created)
    WHERE life_cycle_state = 'PENDING' AND external_system IS NULL;

GRANT SELECT ON ALL TABLES IN SCHEMA outward TO crmledger_service;
