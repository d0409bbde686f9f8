-- A new definition folds everything anew, so nothing of it is parked.
CREATE OR REPLACE FUNCTION temporal.unpark() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM projection.parked WHERE organisation = NEW.organisation AND view = 'history';
    RETURN NULL;
END $$;

COMMENT ON FUNCTION temporal.unpark IS
    'Forgets what was parked when history is folded by another definition.';
REVOKE ALL ON FUNCTION temporal.unpark FROM PUBLIC;
