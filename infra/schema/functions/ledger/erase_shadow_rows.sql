CREATE OR REPLACE FUNCTION ledger.erase_shadow_rows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET lock_timeout = '200ms' AS $$
DECLARE
    kinds text[] := '{communication,contact_information,queue_entry,service_request}';
    ids   text[];
    made  record;
BEGIN
    ids := ARRAY(SELECT ledger.id_text(s.id)
                   FROM unnest(ledger.streams_of_subject(NEW.organisation, NEW.subject)
                               || NEW.subject)
                            AS s (id));
    FOR made IN
        SELECT c.oid::regclass AS name, array_agg(a.attname) AS columns
          FROM pg_class c
          JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname IN ('id', 'kind', 'ref')
         WHERE c.relnamespace IN (to_regnamespace('views_next'), to_regnamespace('views_previous'))
           AND c.relkind = 'r'
         GROUP BY c.oid
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %s WHERE organisation = $1 AND ', made.name)
                    || CASE WHEN 'ref' = ANY (made.columns)
                            THEN 'ref = ANY (ARRAY(SELECT k || ''/'' || i'
                                 ' FROM unnest($2) AS k, unnest($3) AS i))'
                            WHEN 'kind' = ANY (made.columns)
                            THEN 'kind = ANY ($2) AND id = ANY ($3)'
                            ELSE '$2 IS NOT NULL AND id = ANY ($3)' END
              USING NEW.organisation, kinds, ids;
        EXCEPTION WHEN undefined_table OR lock_not_available THEN
            -- A rebuild drops or indexes it, and reads these events again before it switches.
            NULL;
        END;
    END LOOP;
    RETURN NULL;
END $$;

COMMENT ON FUNCTION ledger.erase_shadow_rows IS
    'Drops the rows of a person whose key is destroyed from tables that wait to take the views'' '
    'place; they are made anew before they do.';
REVOKE ALL ON FUNCTION ledger.erase_shadow_rows FROM PUBLIC;
