CREATE OR REPLACE FUNCTION temporal.start_batch(
    in_organisation text, in_version integer, in_most integer,
    OUT "position" bigint, OUT epoch bigint, OUT streams uuid[]
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written integer;
    name    text;
BEGIN
    INSERT INTO projection.checkpoints (organisation, view, version)
    VALUES (in_organisation, 'history', in_version)
    ON CONFLICT DO NOTHING;
    SELECT p.version, p.position, p.epoch INTO written, position, epoch
      FROM projection.checkpoints p
     WHERE p.organisation = in_organisation AND p.view = 'history' FOR UPDATE;
    IF written < in_version THEN
        position := 0;
        FOR name IN SELECT * FROM temporal.tables() UNION ALL SELECT 'invalidated' LOOP
            EXECUTE format('DELETE FROM temporal.%I WHERE organisation = $1', name)
              USING in_organisation;
        END LOOP;
        UPDATE projection.checkpoints p
           SET position = 0, version = in_version, moved_at = clock_timestamp()
         WHERE p.organisation = in_organisation AND p.view = 'history';
    ELSIF written > in_version THEN
        position := NULL;
    END IF;
    streams := ARRAY(SELECT d.stream_id FROM temporal.invalidated d
                      WHERE d.organisation = in_organisation LIMIT in_most);
END $$;

COMMENT ON FUNCTION temporal.start_batch IS
    'The position up to which the history of an organisation is written by this version of its '
    'definition, its epoch, and some of the entities that are to be folded anew. What an older '
    'version has written is dropped; null if a newer one writes.';
REVOKE ALL ON FUNCTION temporal.start_batch FROM PUBLIC;
GRANT EXECUTE ON FUNCTION temporal.start_batch TO crmledger_service;
