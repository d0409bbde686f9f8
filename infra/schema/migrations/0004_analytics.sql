-- Views for analysts, fed from the ledger after the event by `crmledger project`; and which definition
-- the rows of every view were written by.

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS 'What analysts query: no personal data; behind the ledger by the lag that analytics.progress shows.';

CREATE TABLE analytics.progress (
    organisation text        NOT NULL,
    view         text        NOT NULL,
    position     bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    moved_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    holder       uuid,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    PRIMARY KEY (organisation, view)
);
COMMENT ON TABLE analytics.progress IS 'How far each view has come in each ledger, and which process may move it.';
COMMENT ON COLUMN analytics.progress.position IS 'The last event that the view holds. Moved in the transaction that writes the view, and only from where its writer has read it.';
COMMENT ON COLUMN analytics.progress.moved_at IS 'When the position was moved last.';
COMMENT ON COLUMN analytics.progress.holder IS 'The process that has the lease; null if nobody has.';
COMMENT ON COLUMN analytics.progress.held_until IS 'When the lease ends unless it is renewed, by the database''s clock.';

CREATE TABLE analytics.daily_events (
    organisation text   NOT NULL,
    day          date   NOT NULL,
    topic        text   NOT NULL,
    events        bigint NOT NULL CHECK (events > 0),
    PRIMARY KEY (organisation, day, topic)
);
COMMENT ON TABLE analytics.daily_events IS 'How many events of each topic were recorded on each day.';
COMMENT ON COLUMN analytics.daily_events.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN analytics.daily_events.day IS 'The day in UTC on which the events were recorded.';
COMMENT ON COLUMN analytics.daily_events.topic IS 'What happened: entity, a dot, the event in the past tense.';
COMMENT ON COLUMN analytics.daily_events.events IS 'How often it happened.';

CREATE TABLE ledger.view_versions (
    view       text        PRIMARY KEY,
    version    integer     NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ledger.view_versions IS 'The version of its definition by which each view''s rows were written, and since when.';
INSERT INTO ledger.view_versions (view, version)
SELECT name, 1
  FROM unnest(ARRAY['views.communications', 'views.contacts', 'views.entities', 'views.names', 'views.queue_entries',
                    'views.records', 'views.sessions', 'analytics.daily_events']) AS v (name);

SELECT ledger.have_role('crmledger_projector');
SELECT ledger.have_role('crmledger_analyst');
GRANT USAGE ON SCHEMA analytics TO crmledger_service, crmledger_projector, crmledger_analyst;
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO crmledger_service, crmledger_projector, crmledger_analyst;
GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA analytics TO crmledger_projector;
GRANT USAGE ON SCHEMA ledger TO crmledger_projector;
GRANT SELECT ON ledger.events TO crmledger_projector;
GRANT SELECT ON ledger.view_versions TO crmledger_service, crmledger_projector;
GRANT SELECT ON schema_migrations TO crmledger_projector;
