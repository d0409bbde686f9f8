CREATE OR REPLACE FUNCTION analytics.drop_relations() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    former text;
BEGIN
    SELECT string_agg(v.oid::regclass::text, ', ') INTO former
      FROM pg_class v WHERE v.relnamespace = 'analytics'::regnamespace AND v.relkind = 'v';
    IF former IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || former;
    END IF;
    DELETE FROM schema_repeatables WHERE name = 'views of analysts';
END $$;

COMMENT ON FUNCTION analytics.drop_relations IS
    'Drops the views of this schema, as a migration must that changes a column under them; '
    'whoever migrates puts them up again.';
REVOKE ALL ON FUNCTION analytics.drop_relations FROM PUBLIC;
