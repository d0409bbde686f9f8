CREATE OR REPLACE FUNCTION history.begin(
    in_organisation text, in_version integer, in_most integer,
    OUT at bigint, OUT in_generation bigint, OUT streams uuid[]
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written integer;
    name    text;
BEGIN
    INSERT INTO analytics.progress (organisation, view, version)
    VALUES (in_organisation, 'history', in_version)
    ON CONFLICT DO NOTHING;
    SELECT p.version, p.position, p.generation INTO written, at, in_generation
      FROM analytics.progress p
     WHERE p.organisation = in_organisation AND p.view = 'history' FOR UPDATE;
    IF written < in_version THEN
        at := 0;
        FOR name IN SELECT * FROM history.tables() UNION ALL SELECT 'dropped' LOOP
            EXECUTE format('DELETE FROM history.%I WHERE organisation = $1', name)
              USING in_organisation;
        END LOOP;
        UPDATE analytics.progress p
           SET position = 0, version = in_version, moved_at = clock_timestamp()
         WHERE p.organisation = in_organisation AND p.view = 'history';
    ELSIF written > in_version THEN
        at := NULL;
    END IF;
    streams := ARRAY(SELECT d.stream_id FROM history.dropped d
                      WHERE d.organisation = in_organisation LIMIT in_most);
END $$;

COMMENT ON FUNCTION history.begin IS
    'The position up to which the history of an organisation is written by this version of its '
    'definition, its generation, and some of the entities that are to be folded anew. What an '
    'older version has written is dropped; null if a newer one writes.';
REVOKE ALL ON FUNCTION history.begin FROM PUBLIC;
GRANT EXECUTE ON FUNCTION history.begin TO crmledger_service;
