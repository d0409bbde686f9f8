CREATE OR REPLACE FUNCTION temporal.recreate_tables() RETURNS void LANGUAGE plpgsql AS $$
-- Whoever changes the columns of a table in `views`, or adds one, calls this at the end of the
-- migration.
DECLARE
    asked text := 'nullif(current_setting(''crmledger.as_of_position'', true), '''')::bigint';
    made  record;
    ddl   text;
BEGIN
    FOR made IN
        SELECT c.relname AS name, obj_description(c.oid, 'pg_class') AS says,
               coalesce('WITH (' || array_to_string(c.reloptions, ', ') || ')', '') AS options,
               (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
                  FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
               (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n)
                  FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n), pg_attribute a
                 WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid
                   AND a.attnum = k.attnum) AS key,
               EXISTS (SELECT FROM pg_attribute a
                        WHERE a.attrelid = c.oid AND a.attname = 'created') AS is_ordered
          FROM pg_class c WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r'
         ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS temporal.%I CASCADE', made.name);
        EXECUTE format('CREATE TABLE temporal.%I (LIKE views.%1$I INCLUDING COMMENTS) %s',
                       made.name, made.options);
        -- The end of a row is part of its key: the row of a position is the first one that ends
        -- after it.
        EXECUTE format('ALTER TABLE temporal.%I ADD COLUMN IF NOT EXISTS stream_id uuid NOT NULL,'
                       ' ADD COLUMN valid_from bigint NOT NULL,'
                       ' ADD COLUMN valid_to bigint NOT NULL,'
                       ' ADD CHECK (valid_from < valid_to), ADD PRIMARY KEY (%s, valid_to)',
                       made.name, made.key);
        EXECUTE format('CREATE INDEX ON temporal.%I (organisation, stream_id)', made.name);
        FOR ddl IN
            SELECT replace(pg_get_indexdef(i.indexrelid), ' ON views.', ' ON temporal.')
              FROM pg_index i
             WHERE i.indrelid = format('views.%I', made.name)::regclass AND NOT i.indisprimary
        LOOP
            EXECUTE ddl;
        END LOOP;
        -- What was created later cannot have stood, and a list in the order of creation need not
        -- pass it.
        EXECUTE format('CREATE VIEW past.%I AS SELECT %s FROM temporal.%1$I'
                       ' WHERE valid_from <= %3$s AND valid_to > %3$s',
                       made.name, made.columns, asked)
             || CASE WHEN made.is_ordered THEN ' AND created <= ' || asked ELSE '' END;
        EXECUTE format('COMMENT ON TABLE temporal.%I IS %L', made.name,
                       'Through time: ' || made.says);
        EXECUTE format('COMMENT ON VIEW past.%I IS %L', made.name,
                       'As it was after crmledger.as_of_position: ' || made.says);
        EXECUTE format('COMMENT ON COLUMN temporal.%I.stream_id IS %L', made.name,
                       'The entity from whose events the row was made.');
        EXECUTE format('COMMENT ON COLUMN temporal.%I.valid_from IS %L', made.name,
                       'The position of the event after which the row looked so.');
        EXECUTE format('COMMENT ON COLUMN temporal.%I.valid_to IS %L', made.name,
                       'The position of the event after which it no longer did; '
                       'the largest bigint while it still does.');
        EXECUTE format('GRANT SELECT ON past.%I TO crmledger_service', made.name);
    END LOOP;
    UPDATE projection.checkpoints SET position = 0, version = 0 WHERE view = 'history';
END $$;

COMMENT ON FUNCTION temporal.recreate_tables IS
    'Makes the tables of temporal and the views of past anew, empty, after those of views.';
REVOKE ALL ON FUNCTION temporal.recreate_tables FROM PUBLIC;
