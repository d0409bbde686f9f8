-- Sending: which entry of the queue is being sent by whom, how often that was tried, and how the
-- servers behave. None of it is history: what became of an entry is an event, and its rows here go.

CREATE TABLE delivery.transports (
    organisation       text        NOT NULL,
    media              text        NOT NULL,
    fence              bigint      NOT NULL DEFAULT 0,
    next_at            timestamptz NOT NULL DEFAULT '-infinity',
    failures           integer     NOT NULL DEFAULT 0,
    circuit_open_until timestamptz NOT NULL DEFAULT '-infinity',
    last_error         text,
    version            integer     NOT NULL DEFAULT 0,
    PRIMARY KEY (organisation, media)
);
COMMENT ON TABLE delivery.transports IS
    'The e-mail server and the SMS gateway of each organisation; whoever takes entries for one '
    'holds its row.';
COMMENT ON COLUMN delivery.transports.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN delivery.transports.media IS 'EMAIL or SMS.';
COMMENT ON COLUMN delivery.transports.fence IS
    'The last fencing number that was given out; each lease has a higher one.';
COMMENT ON COLUMN delivery.transports.next_at IS
    'When the next message is due at the rate that was set (generic cell rate algorithm).';
COMMENT ON COLUMN delivery.transports.failures IS 'How often in a row it could not be used at all.';
COMMENT ON COLUMN delivery.transports.circuit_open_until IS 'Nothing is tried before.';
COMMENT ON COLUMN delivery.transports.last_error IS
    'The code of the last such failure; null once it has dealt with a message.';
COMMENT ON COLUMN delivery.transports.version IS
    'The version of the organisation''s record by which it is used; with a newer one it is tried '
    'at once.';

CREATE TABLE delivery.entries (
    organisation     text        NOT NULL,
    entry            text        NOT NULL,
    media            text        NOT NULL,
    fence            bigint      NOT NULL,
    lease_expires_at timestamptz NOT NULL,
    next_try_at      timestamptz NOT NULL,
    tries            integer     NOT NULL DEFAULT 0,
    sent             boolean     NOT NULL DEFAULT false,
    last_error       text,
    PRIMARY KEY (organisation, entry)
);
CREATE INDEX entries_by_media ON delivery.entries (organisation, media, lease_expires_at);
COMMENT ON TABLE delivery.entries IS
    'Entries of the queue that are being sent or wait for their next try.';
COMMENT ON COLUMN delivery.entries.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN delivery.entries.entry IS 'The id of the queue entry.';
COMMENT ON COLUMN delivery.entries.media IS 'EMAIL or SMS.';
COMMENT ON COLUMN delivery.entries.fence IS
    'The number of the last lease; whoever has another one has lost it.';
COMMENT ON COLUMN delivery.entries.lease_expires_at IS
    'Until then the entry is its holder''s, by this server''s clock.';
COMMENT ON COLUMN delivery.entries.next_try_at IS 'It is not tried before.';
COMMENT ON COLUMN delivery.entries.tries IS 'How often it was tried and put off.';
COMMENT ON COLUMN delivery.entries.sent IS
    'The server has taken the message; only the event is missing.';
COMMENT ON COLUMN delivery.entries.last_error IS 'The code with which it was put off last.';

-- What the sender looks for: the oldest of its own entries, and whether a contact has an earlier
-- one.
CREATE INDEX queue_entries_own
    ON views.queue_entries (organisation, media, created)
    WHERE life_cycle_state = 'PENDING' AND external_system IS NULL;
CREATE INDEX queue_entries_own_contact
    ON views.queue_entries (organisation, media, contact_information, created)
    WHERE life_cycle_state = 'PENDING' AND external_system IS NULL;

GRANT SELECT ON ALL TABLES IN SCHEMA delivery TO crmledger_service;
