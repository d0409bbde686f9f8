-- The views as they were: every row that any of them has ever had, with the positions between which
-- it stood. Folded from the ledger afterwards, so all of it can be dropped and folded again.

CREATE TABLE temporal.invalidated (
    organisation text NOT NULL,
    stream_id    uuid NOT NULL,
    PRIMARY KEY (organisation, stream_id)
);
COMMENT ON TABLE temporal.invalidated IS
    'Entities whose rows were dropped and are to be folded anew before anything is read.';
COMMENT ON COLUMN temporal.invalidated.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN temporal.invalidated.stream_id IS 'The entity.';

GRANT SELECT ON temporal.invalidated TO crmledger_service;

-- A person is forgotten in the past, too, and in the same transaction.
CREATE TRIGGER temporal_rows AFTER INSERT ON ledger.forgotten
    FOR EACH ROW EXECUTE FUNCTION temporal.erase();

-- A new definition folds everything anew, so nothing of it is parked.
CREATE TRIGGER unpark AFTER UPDATE ON projection.checkpoints FOR EACH ROW
    WHEN (NEW.view = 'history' AND NEW.version <> OLD.version) EXECUTE FUNCTION temporal.unpark();

-- All other tables of temporal, and the views of past, follow those of views.
SELECT temporal.recreate_tables();
