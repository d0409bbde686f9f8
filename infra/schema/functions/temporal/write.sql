CREATE OR REPLACE FUNCTION temporal.write(
    in_organisation text, in_version integer, in_epoch bigint, in_after bigint, in_upto bigint,
    in_streams uuid[],
    ended_view text[], ended_row text[], begun_view text[], begun_row text[]
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name      text;
    insertion text;
BEGIN
    UPDATE projection.checkpoints SET position = in_upto, moved_at = clock_timestamp()
     WHERE organisation = in_organisation AND view = 'history'
       AND position = in_after AND version = in_version AND epoch = in_epoch;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM temporal.invalidated
     WHERE organisation = in_organisation AND stream_id = ANY (in_streams);
    DELETE FROM projection.parked
     WHERE organisation = in_organisation AND view = 'history'
       AND stream_id = ANY (in_streams);
    FOR name IN SELECT * FROM temporal.tables() LOOP
        IF cardinality(in_streams) > 0 THEN
            EXECUTE format('DELETE FROM temporal.%I'
                           ' WHERE organisation = $1 AND stream_id = ANY ($2)', name)
              USING in_organisation, in_streams;
        END IF;
        insertion := format('INSERT INTO temporal.%I'
                            ' SELECT r.* FROM unnest($2, $3) AS w (view, row),'
                            ' json_populate_record(NULL::temporal.%1$I, w.row::json) AS r'
                            ' WHERE w.view = %1$L AND r.organisation = $1', name);
        -- What ends stands there with the same key, because nothing else ends so late. A join would
        -- find it, too, and might be planned as a scan of all that the organisation has.
        IF name = ANY (ended_view) THEN
            EXECUTE insertion ||
                format(' ON CONFLICT ON CONSTRAINT %I DO UPDATE SET valid_to = excluded.valid_from',
                       name || '_pkey')
              USING in_organisation, ended_view, ended_row;
        END IF;
        IF name = ANY (begun_view) THEN
            EXECUTE insertion USING in_organisation, begun_view, begun_row;
        END IF;
    END LOOP;
    RETURN true;
END $$;

COMMENT ON FUNCTION temporal.write IS
    'Moves the history of an organisation from one position to another and writes the rows that '
    'ended (as JSON, valid_from being where) and begun between them, in one transaction; false, '
    'and nothing is written, if it does not stand at the first. All former rows of in_streams are '
    'dropped.';
REVOKE ALL ON FUNCTION temporal.write FROM PUBLIC;
GRANT EXECUTE ON FUNCTION temporal.write TO crmledger_service;
