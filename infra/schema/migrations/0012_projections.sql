-- Projections as a product: events that a view cannot take in are parked, older programs write no rows of newer views,
-- and whoever is forgotten is forgotten in tables that wait to take the views' place, too.

CREATE SCHEMA projections;
COMMENT ON SCHEMA projections IS 'What those who feed views must remember beside them.';
GRANT USAGE ON SCHEMA projections TO crmledger_service, crmledger_projector;

CREATE TABLE projections.parked (
    organisation text        NOT NULL,
    view         text        NOT NULL,
    stream_id    uuid        NOT NULL,
    position     bigint      NOT NULL,
    reason       text        NOT NULL,
    tries        integer     NOT NULL DEFAULT 1,
    parked_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    tried_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, view, stream_id)
);
COMMENT ON TABLE projections.parked IS 'Entities whose events a view could not take in: it lacks those from a position on until they are tried again with success.';
COMMENT ON COLUMN projections.parked.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN projections.parked.view IS 'The view, as in analytics.progress.';
COMMENT ON COLUMN projections.parked.stream_id IS 'The entity.';
COMMENT ON COLUMN projections.parked.position IS 'The first of its events that the view lacks.';
COMMENT ON COLUMN projections.parked.reason IS 'What was wrong when it was tried last.';
COMMENT ON COLUMN projections.parked.tries IS 'How often it was tried.';
COMMENT ON COLUMN projections.parked.parked_at IS 'When it was parked.';
COMMENT ON COLUMN projections.parked.tried_at IS 'When it was tried last.';
GRANT SELECT ON projections.parked TO crmledger_service, crmledger_projector;
GRANT INSERT, UPDATE, DELETE ON projections.parked TO crmledger_projector;

CREATE FUNCTION history.park(
    in_organisation text, in_version integer, in_generation bigint, in_after bigint,
    in_streams uuid[], in_positions bigint[], in_reasons text[]
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- The next generation: what others have read of these entities meanwhile is not written any more.
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
    DELETE FROM history.dropped WHERE organisation = in_organisation AND stream_id = ANY (in_streams);
    RETURN true;
END $$;
COMMENT ON FUNCTION history.park IS 'Parks entities that history cannot take in, if it stands at a position; in_positions are the first events of theirs that it lacks.';

CREATE OR REPLACE FUNCTION history.write(
    in_organisation text, in_version integer, in_generation bigint, in_after bigint, in_upto bigint, in_streams uuid[],
    ended_view text[], ended_row text[], begun_view text[], begun_row text[]
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name      text;
    insertion text;
BEGIN
    UPDATE analytics.progress SET position = in_upto, moved_at = clock_timestamp()
     WHERE organisation = in_organisation AND view = 'history'
       AND position = in_after AND version = in_version AND generation = in_generation;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM history.dropped WHERE organisation = in_organisation AND stream_id = ANY (in_streams);
    DELETE FROM projections.parked WHERE organisation = in_organisation AND view = 'history' AND stream_id = ANY (in_streams);
    FOR name IN SELECT * FROM history.tables() LOOP
        IF cardinality(in_streams) > 0 THEN
            EXECUTE format('DELETE FROM history.%I WHERE organisation = $1 AND stream_id = ANY ($2)', name)
              USING in_organisation, in_streams;
        END IF;
        insertion := format('INSERT INTO history.%I SELECT r.* FROM unnest($2, $3) AS w (view, row),'
                            ' json_populate_record(NULL::history.%1$I, w.row::json) AS r'
                            ' WHERE w.view = %1$L AND r.organisation = $1', name);
        -- What ends stands there with the same key, because nothing else ends so late. A join would find it,
        -- too, and might be planned as a scan of all that the organisation has.
        IF name = ANY (ended_view) THEN
            EXECUTE insertion || format(' ON CONFLICT ON CONSTRAINT %I DO UPDATE SET valid_to = excluded.valid_from', name || '_pkey')
              USING in_organisation, ended_view, ended_row;
        END IF;
        IF name = ANY (begun_view) THEN
            EXECUTE insertion USING in_organisation, begun_view, begun_row;
        END IF;
    END LOOP;
    RETURN true;
END $$;
CREATE FUNCTION history.retry(in_organisation text, in_stream uuid, in_reason text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE projections.parked SET tries = tries + 1, tried_at = clock_timestamp(), reason = coalesce(in_reason, reason)
     WHERE organisation = in_organisation AND view = 'history' AND stream_id = in_stream;
    IF FOUND AND in_reason IS NULL THEN
        PERFORM history.drop(in_organisation, ARRAY[in_stream]);
    END IF;
END $$;
COMMENT ON FUNCTION history.retry IS 'Notes that an entity that is parked was tried again. If there is no reason any more, what history has of it is dropped, so that it is folded anew as a whole.';

-- A new definition folds everything anew, so nothing of it is parked.
CREATE FUNCTION history.unpark() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM projections.parked WHERE organisation = NEW.organisation AND view = 'history';
    RETURN NULL;
END $$;
COMMENT ON FUNCTION history.unpark IS 'Forgets what was parked when history is folded by another definition.';
CREATE TRIGGER unpark AFTER UPDATE ON analytics.progress FOR EACH ROW
    WHEN (NEW.view = 'history' AND NEW.version <> OLD.version) EXECUTE FUNCTION history.unpark();

CREATE OR REPLACE FUNCTION ledger.write_views(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
-- Table names are not qualified in what is called: append writes the live views, a rebuild those beside them.
-- Rows of others are looked up one by one, by their key (LATERAL with a limit, or a subquery): a join may be
-- planned as a scan of all that the organisation has.
BEGIN
    IF nullif(current_setting('crmledger.views', true), '')::bigint
       < (SELECT sum(v.version) FROM ledger.view_versions v WHERE starts_with(v.view, 'views.')) THEN
        RAISE EXCEPTION 'the views were written by a newer program' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF 'entities' = ANY (view_name) THEN
        PERFORM ledger.write_entities(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'records' = ANY (view_name) THEN
        PERFORM ledger.write_records(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'sessions' = ANY (view_name) THEN
        PERFORM ledger.write_sessions(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'contacts' = ANY (view_name) THEN
        PERFORM ledger.write_contacts(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'communications' = ANY (view_name) THEN
        PERFORM ledger.write_communications(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'queue_entries' = ANY (view_name) THEN
        PERFORM ledger.write_queue_entries(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'access_tokens' = ANY (view_name) THEN
        PERFORM ledger.write_access_tokens(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'service_requests' = ANY (view_name) THEN
        PERFORM ledger.write_service_requests(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
END $$;

CREATE FUNCTION ledger.forget_beside() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    kinds text[] := '{communication,contact_information,queue_entry,service_request}';
    ids   text[];
    made  record;
BEGIN
    ids := ARRAY(SELECT ledger.id_text(s.id)
                   FROM unnest(ledger.streams_of(NEW.organisation, NEW.subject) || NEW.subject) AS s (id));
    FOR made IN
        SELECT c.oid::regclass AS name, array_agg(a.attname) AS columns
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname IN ('id', 'kind', 'ref')
         WHERE c.relnamespace IN (to_regnamespace('views_next'), to_regnamespace('views_former')) AND c.relkind = 'r'
         GROUP BY c.oid
    LOOP
        BEGIN
            EXECUTE format('DELETE FROM %s WHERE organisation = $1 AND ', made.name)
                    || CASE WHEN 'ref' = ANY (made.columns) THEN 'ref = ANY (ARRAY(SELECT k || ''/'' || i FROM unnest($2) AS k, unnest($3) AS i))'
                            WHEN 'kind' = ANY (made.columns) THEN 'kind = ANY ($2) AND id = ANY ($3)'
                            ELSE '$2 IS NOT NULL AND id = ANY ($3)' END
              USING NEW.organisation, kinds, ids;
        EXCEPTION WHEN undefined_table OR lock_not_available THEN
            NULL;  -- A rebuild is dropping or indexing it, and reads these events again before it switches.
        END;
    END LOOP;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION ledger.forget_beside IS 'Drops the rows of a person whose key is destroyed from tables that wait to take the views'' place; they are made anew before they do.';
CREATE TRIGGER beside AFTER INSERT ON ledger.forgotten FOR EACH ROW EXECUTE FUNCTION ledger.forget_beside();

REVOKE ALL ON FUNCTION history.park, history.retry, history.unpark, ledger.forget_beside FROM PUBLIC;
GRANT EXECUTE ON FUNCTION history.park, history.retry TO crmledger_service;
