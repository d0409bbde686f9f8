CREATE OR REPLACE FUNCTION temporal.park(
    in_organisation text, in_version integer, in_epoch bigint, in_after bigint,
    in_streams uuid[], in_positions bigint[], in_reasons text[]
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The next epoch: what others have read of these entities meanwhile is not written any more.
    UPDATE projection.checkpoints SET epoch = epoch + 1
     WHERE organisation = in_organisation AND view = 'history'
       AND position = in_after AND version = in_version AND epoch = in_epoch;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO projection.parked AS p (organisation, view, stream_id, position, reason)
    SELECT in_organisation, 'history', u.* FROM unnest(in_streams, in_positions, in_reasons) AS u
    ON CONFLICT (organisation, view, stream_id) DO UPDATE
       SET position = least(p.position, excluded.position), reason = excluded.reason,
           tries = p.tries + 1, tried_at = clock_timestamp();
    DELETE FROM temporal.invalidated
     WHERE organisation = in_organisation AND stream_id = ANY (in_streams);
    RETURN true;
END $$;

COMMENT ON FUNCTION temporal.park IS
    'Parks entities that history cannot take in, if it stands at a position; in_positions are the '
    'first events of theirs that it lacks.';
REVOKE ALL ON FUNCTION temporal.park FROM PUBLIC;
GRANT EXECUTE ON FUNCTION temporal.park TO crmledger_service;
