CREATE OR REPLACE FUNCTION history.park(
    in_organisation text, in_version integer, in_generation bigint, in_after bigint,
    in_streams uuid[], in_positions bigint[], in_reasons text[]
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The next generation: what others have read of these entities meanwhile is not written any
    -- more.
    UPDATE analytics.progress SET generation = generation + 1
     WHERE organisation = in_organisation AND view = 'history'
       AND position = in_after AND version = in_version AND generation = in_generation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO projections.parked AS p (organisation, view, stream_id, position, reason)
    SELECT in_organisation, 'history', u.* FROM unnest(in_streams, in_positions, in_reasons) AS u
    ON CONFLICT (organisation, view, stream_id) DO UPDATE
       SET position = least(p.position, excluded.position), reason = excluded.reason,
           tries = p.tries + 1, tried_at = clock_timestamp();
    DELETE FROM history.dropped
     WHERE organisation = in_organisation AND stream_id = ANY (in_streams);
    RETURN true;
END $$;

COMMENT ON FUNCTION history.park IS
    'Parks entities that history cannot take in, if it stands at a position; in_positions are the '
    'first facts of theirs that it lacks.';
REVOKE ALL ON FUNCTION history.park FROM PUBLIC;
GRANT EXECUTE ON FUNCTION history.park TO crmledger_service;
