-- Facts that a view cannot take in are parked.

CREATE TABLE projections.parked (
    organisation text        NOT NULL,
    view         text        NOT NULL,
    stream_id    uuid        NOT NULL,
    position     bigint      NOT NULL,
    reason       text        NOT NULL,
    tries        integer     NOT NULL DEFAULT 1,
    parked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    tried_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, view, stream_id)
);
COMMENT ON TABLE projections.parked IS
    'Entities whose facts a view could not take in: it lacks those from a position on until they '
    'are tried again with success.';
COMMENT ON COLUMN projections.parked.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN projections.parked.view IS 'The view, as in analytics.progress.';
COMMENT ON COLUMN projections.parked.stream_id IS 'The entity.';
COMMENT ON COLUMN projections.parked.position IS 'The first of its facts that the view lacks.';
COMMENT ON COLUMN projections.parked.reason IS 'What was wrong when it was tried last.';
COMMENT ON COLUMN projections.parked.tries IS 'How often it was tried.';
COMMENT ON COLUMN projections.parked.parked_at IS 'When it was parked.';
COMMENT ON COLUMN projections.parked.tried_at IS 'When it was tried last.';

GRANT SELECT ON projections.parked TO crmledger_service, crmledger_projector;
GRANT INSERT, UPDATE, DELETE ON projections.parked TO crmledger_projector;
