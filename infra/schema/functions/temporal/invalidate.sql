CREATE OR REPLACE FUNCTION temporal.invalidate(
    in_organisation text, in_streams uuid[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    -- Whoever is writing is waited for; whoever has only read will find that it was in vain.
    INSERT INTO projection.checkpoints AS p (organisation, view) VALUES (in_organisation, 'history')
    ON CONFLICT (organisation, view) DO UPDATE SET epoch = p.epoch + 1;
    FOR name IN SELECT * FROM temporal.tables() LOOP
        EXECUTE format('DELETE FROM temporal.%I'
                       ' WHERE organisation = $1 AND stream_id = ANY ($2)', name)
          USING in_organisation, in_streams;
    END LOOP;
    INSERT INTO temporal.invalidated SELECT in_organisation, unnest(in_streams)
    ON CONFLICT DO NOTHING;
END $$;

COMMENT ON FUNCTION temporal.invalidate IS
    'Drops the rows of entities, which are folded anew from what their events say now before '
    'anything is read again.';
REVOKE ALL ON FUNCTION temporal.invalidate FROM PUBLIC;
