-- For analysts, fed from the ledger after the fact by `crmledger project`: how far that is, what
-- happened on each day, and the states that entities have been in. The views of this schema are
-- derived from the field table (infra/analytics) and put up by whoever migrates.

CREATE TABLE analytics.progress (
    organisation text        NOT NULL,
    view         text        NOT NULL,
    position     bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    moved_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    holder       uuid,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    version      integer     NOT NULL DEFAULT 0,
    generation   bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (organisation, view)
);
COMMENT ON TABLE analytics.progress IS
    'How far each view has come in each ledger, and which process may move it.';
COMMENT ON COLUMN analytics.progress.position IS
    'The last fact that the view holds. Moved in the transaction that writes the view, and only '
    'from where its writer has read it.';
COMMENT ON COLUMN analytics.progress.moved_at IS 'When the position was moved last.';
COMMENT ON COLUMN analytics.progress.holder IS
    'The process that has the lease; null if nobody has.';
COMMENT ON COLUMN analytics.progress.held_until IS
    'When the lease ends unless it is renewed, by the database''s clock.';
COMMENT ON COLUMN analytics.progress.version IS
    'Of a view that is folded from the ledger: the definition by which its rows of this '
    'organisation were written.';
COMMENT ON COLUMN analytics.progress.generation IS
    'Of a view that is folded from the ledger: how often rows were dropped because a person was '
    'forgotten. What was read in an earlier generation is not written any more.';

CREATE TABLE analytics.daily_facts (
    organisation text   NOT NULL,
    day          date   NOT NULL,
    topic        text   NOT NULL,
    facts        bigint NOT NULL CHECK (facts > 0),
    PRIMARY KEY (organisation, day, topic)
);
COMMENT ON TABLE analytics.daily_facts IS 'How many facts of each topic were recorded on each day.';
COMMENT ON COLUMN analytics.daily_facts.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN analytics.daily_facts.day IS 'The day in UTC on which the facts were recorded.';
COMMENT ON COLUMN analytics.daily_facts.topic IS
    'What happened: entity, a dot, the fact in the past tense.';
COMMENT ON COLUMN analytics.daily_facts.facts IS 'How often it happened.';

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
