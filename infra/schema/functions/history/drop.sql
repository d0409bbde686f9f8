CREATE OR REPLACE FUNCTION history.drop(
    in_organisation text, in_streams uuid[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    -- Whoever is writing is waited for; whoever has only read will find that it was in vain.
    INSERT INTO analytics.progress AS p (organisation, view) VALUES (in_organisation, 'history')
    ON CONFLICT (organisation, view) DO UPDATE SET generation = p.generation + 1;
    FOR name IN SELECT * FROM history.tables() LOOP
        EXECUTE format('DELETE FROM history.%I'
                       ' WHERE organisation = $1 AND stream_id = ANY ($2)', name)
          USING in_organisation, in_streams;
    END LOOP;
    INSERT INTO history.dropped SELECT in_organisation, unnest(in_streams) ON CONFLICT DO NOTHING;
END $$;

COMMENT ON FUNCTION history.drop IS
    'Drops the rows of entities, which are folded anew from what their facts say now before '
    'anything is read again.';
REVOKE ALL ON FUNCTION history.drop FROM PUBLIC;
