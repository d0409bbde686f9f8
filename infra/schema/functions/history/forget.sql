-- A person is forgotten in the past, too, and in the same transaction.
CREATE OR REPLACE FUNCTION history.forget() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM history.drop(NEW.organisation,
                         ledger.streams_of(NEW.organisation, NEW.subject) || NEW.subject);
    RETURN NULL;
END $$;

COMMENT ON FUNCTION history.forget IS 'Drops what history says of a person whose key is destroyed.';
REVOKE ALL ON FUNCTION history.forget FROM PUBLIC;
