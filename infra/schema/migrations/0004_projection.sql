-- Projections that follow the ledger on their own: how far each has come, and the entities whose
-- events it cannot take in.

CREATE TABLE projection.checkpoints (
    organisation     text        NOT NULL,
    view             text        NOT NULL,
    position         bigint      NOT NULL DEFAULT 0 CHECK (position >= 0),
    moved_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease_holder     uuid,
    lease_expires_at timestamptz NOT NULL DEFAULT '-infinity',
    version          integer     NOT NULL DEFAULT 0,
    epoch            bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (organisation, view)
);
COMMENT ON TABLE projection.checkpoints IS
    'How far each view has come in each ledger, and which process may move it.';
COMMENT ON COLUMN projection.checkpoints.position IS
    'The last event that the view holds. Moved in the transaction that writes the view, and only '
    'from where its writer has read it.';
COMMENT ON COLUMN projection.checkpoints.moved_at IS 'When the position was moved last.';
COMMENT ON COLUMN projection.checkpoints.lease_holder IS
    'The process that has the lease; null if nobody has.';
COMMENT ON COLUMN projection.checkpoints.lease_expires_at IS
    'When the lease ends unless it is renewed, by the database''s clock.';
COMMENT ON COLUMN projection.checkpoints.version IS
    'Of a view that is folded from the ledger: the definition by which its rows of this '
    'organisation were written.';
COMMENT ON COLUMN projection.checkpoints.epoch IS
    'Of a view that is folded from the ledger: how often rows were dropped because a person was '
    'forgotten. What was read in an earlier epoch is not written any more.';

CREATE TABLE projection.parked (
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
COMMENT ON TABLE projection.parked IS
    'Entities whose events a view could not take in: it lacks those from a position on until they '
    'are tried again with success.';
COMMENT ON COLUMN projection.parked.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN projection.parked.view IS 'The view, as in projection.checkpoints.';
COMMENT ON COLUMN projection.parked.stream_id IS 'The entity.';
COMMENT ON COLUMN projection.parked.position IS 'The first of its events that the view lacks.';
COMMENT ON COLUMN projection.parked.reason IS 'What was wrong when it was tried last.';
COMMENT ON COLUMN projection.parked.tries IS 'How often it was tried.';
COMMENT ON COLUMN projection.parked.parked_at IS 'When it was parked.';
COMMENT ON COLUMN projection.parked.tried_at IS 'When it was tried last.';

GRANT SELECT ON ALL TABLES IN SCHEMA projection TO crmledger_service, crmledger_projector;
GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA projection TO crmledger_projector;
GRANT DELETE ON projection.parked TO crmledger_projector;
