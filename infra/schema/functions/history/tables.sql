CREATE OR REPLACE FUNCTION history.tables() RETURNS SETOF name LANGUAGE sql STABLE AS $$
    SELECT relname FROM pg_catalog.pg_class
     WHERE relnamespace = 'history'::regnamespace AND relkind = 'r' AND relname <> 'dropped'
     ORDER BY relname
$$;

COMMENT ON FUNCTION history.tables IS 'The tables that follow those of views.';
REVOKE ALL ON FUNCTION history.tables FROM PUBLIC;
