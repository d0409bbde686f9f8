-- The views as they were: every row that any of them has ever had, with the positions between which
-- it stood. Folded from the ledger after the fact, so all of it can be dropped and folded again.

CREATE TABLE history.dropped (
    organisation text NOT NULL,
    stream_id    uuid NOT NULL,
    PRIMARY KEY (organisation, stream_id)
);
COMMENT ON TABLE history.dropped IS
    'Entities whose rows were dropped and are to be folded anew before anything is read.';
COMMENT ON COLUMN history.dropped.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN history.dropped.stream_id IS 'The entity.';

GRANT SELECT ON history.dropped TO crmledger_service;

-- A person is forgotten in the past, too, and in the same transaction.
CREATE TRIGGER history AFTER INSERT ON ledger.forgotten
    FOR EACH ROW EXECUTE FUNCTION history.forget();

-- A new definition folds everything anew, so nothing of it is parked.
CREATE TRIGGER unpark AFTER UPDATE ON analytics.progress FOR EACH ROW
    WHEN (NEW.view = 'history' AND NEW.version <> OLD.version) EXECUTE FUNCTION history.unpark();

-- All other tables of history, and the views of past, follow those of views.
SELECT history.remake();
