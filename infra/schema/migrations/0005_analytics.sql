-- For analysts, fed from the ledger afterwards by `crmledger project`: what happened on each day,
-- and the states that entities have been in. The views of this schema are derived from the field
-- table (infra/analytics) and put up by whoever migrates.

CREATE TABLE analytics.daily_events (
    organisation text   NOT NULL,
    day          date   NOT NULL,
    topic        text   NOT NULL,
    events       bigint NOT NULL CHECK (events > 0),
    PRIMARY KEY (organisation, day, topic)
);
COMMENT ON TABLE analytics.daily_events IS
    'How many events of each topic were recorded on each day.';
COMMENT ON COLUMN analytics.daily_events.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN analytics.daily_events.day IS 'The day in UTC on which the events were recorded.';
COMMENT ON COLUMN analytics.daily_events.topic IS
    'What happened: entity, a dot, the event in the past tense.';
COMMENT ON COLUMN analytics.daily_events.events IS 'How often it happened.';

CREATE TABLE analytics.transitions (
    organisation     text        NOT NULL,
    entity           text        NOT NULL,
    id               text        NOT NULL,
    state            text        NOT NULL,
    topic            text        NOT NULL,
    entered_position bigint      NOT NULL,
    entered_at       timestamptz NOT NULL,
    left_position    bigint,
    left_at          timestamptz,
    actor            text,
    unit             text,
    seconds          double precision
        GENERATED ALWAYS AS (extract(epoch FROM left_at - entered_at)) STORED,
    changed_position bigint
        GENERATED ALWAYS AS (coalesce(left_position, entered_position)) STORED,
    PRIMARY KEY (organisation, id, entered_position)
);
CREATE INDEX transitions_open
    ON analytics.transitions (organisation, id) WHERE left_position IS NULL;
CREATE INDEX transitions_state ON analytics.transitions (organisation, entity, state, entered_at);

GRANT SELECT ON ALL TABLES IN SCHEMA analytics
    TO crmledger_service, crmledger_projector, crmledger_analyst;
GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA analytics TO crmledger_projector;
