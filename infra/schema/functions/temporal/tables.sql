CREATE OR REPLACE FUNCTION temporal.tables() RETURNS SETOF name LANGUAGE sql STABLE AS $$
    SELECT relname FROM pg_catalog.pg_class
     WHERE relnamespace = 'temporal'::regnamespace AND relkind = 'r' AND relname <> 'invalidated'
     ORDER BY relname
$$;

COMMENT ON FUNCTION temporal.tables IS 'The tables that follow those of views.';
REVOKE ALL ON FUNCTION temporal.tables FROM PUBLIC;
