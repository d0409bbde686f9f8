-- A person is forgotten in the past, too, and in the same transaction.
CREATE OR REPLACE FUNCTION temporal.erase() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM temporal.invalidate(
        NEW.organisation,
        ledger.streams_of_subject(NEW.organisation, NEW.subject) || NEW.subject);
    RETURN NULL;
END $$;

COMMENT ON FUNCTION temporal.erase IS 'Drops what history says of a person whose key is destroyed.';
REVOKE ALL ON FUNCTION temporal.erase FROM PUBLIC;
