-- The views as they were: every row that any of them has ever had, with the positions between which it stood.
-- Folded from the ledger after the event, so all of it can be dropped and folded again.

CREATE SCHEMA history;
COMMENT ON SCHEMA history IS 'Every row that the views have ever had; behind the ledger by what analytics.progress says of the view "history".';
CREATE SCHEMA past;
COMMENT ON SCHEMA past IS 'The views as they were after the position that the setting crmledger.position says: SET crmledger.position = 120.';

ALTER TABLE analytics.progress
    ADD COLUMN version    integer NOT NULL DEFAULT 0,
    ADD COLUMN generation bigint  NOT NULL DEFAULT 0;
COMMENT ON COLUMN analytics.progress.version IS 'Of a view that is folded from the ledger: the definition by which its rows of this organisation were written.';
COMMENT ON COLUMN analytics.progress.generation IS 'Of a view that is folded from the ledger: how often rows were dropped because a person was forgotten. What was read in an earlier generation is not written any more.';

CREATE TABLE history.dropped (
    organisation text NOT NULL,
    stream_id    uuid NOT NULL,
    PRIMARY KEY (organisation, stream_id)
);
COMMENT ON TABLE history.dropped IS 'Entities whose rows were dropped and are to be folded anew before anything is read.';
COMMENT ON COLUMN history.dropped.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN history.dropped.stream_id IS 'The entity.';

CREATE FUNCTION history.tables() RETURNS SETOF name LANGUAGE sql STABLE AS $$
    SELECT relname FROM pg_catalog.pg_class
     WHERE relnamespace = 'history'::regnamespace AND relkind = 'r' AND relname <> 'dropped' ORDER BY relname
$$;
COMMENT ON FUNCTION history.tables IS 'The tables that follow those of views.';

CREATE FUNCTION history.remake() RETURNS void LANGUAGE plpgsql AS $$
-- Whoever changes the columns of a table in `views`, or adds one, calls this at the end of the migration.
DECLARE
    asked text := 'nullif(current_setting(''crmledger.position'', true), '''')::bigint';
    made  record;
    ddl   text;
BEGIN
    FOR made IN
        SELECT c.relname AS name, obj_description(c.oid, 'pg_class') AS says, coalesce('WITH (' || array_to_string(c.reloptions, ', ') || ')', '') AS options,
               (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
               (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.n)
                  FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (attnum, n), pg_attribute a
                 WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.attnum) AS key,
               EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'created') AS is_ordered
          FROM pg_class c WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r' ORDER BY c.relname
    LOOP
        EXECUTE format('DROP TABLE IF EXISTS history.%I CASCADE', made.name);
        EXECUTE format('CREATE TABLE history.%I (LIKE views.%1$I INCLUDING COMMENTS) %s', made.name, made.options);
        -- The end of a row is part of its key: the row of a position is the first one that ends after it.
        EXECUTE format('ALTER TABLE history.%I ADD COLUMN IF NOT EXISTS stream_id uuid NOT NULL,'
                       ' ADD COLUMN valid_from bigint NOT NULL, ADD COLUMN valid_to bigint NOT NULL,'
                       ' ADD CHECK (valid_from < valid_to), ADD PRIMARY KEY (%s, valid_to)', made.name, made.key);
        EXECUTE format('CREATE INDEX ON history.%I (organisation, stream_id)', made.name);
        FOR ddl IN SELECT replace(pg_get_indexdef(i.indexrelid), ' ON views.', ' ON history.') FROM pg_index i
                    WHERE i.indrelid = format('views.%I', made.name)::regclass AND NOT i.indisprimary
        LOOP
            EXECUTE ddl;
        END LOOP;
        -- What was created later cannot have stood, and a list in the order of creation need not pass it.
        EXECUTE format('CREATE VIEW past.%I AS SELECT %s FROM history.%1$I WHERE valid_from <= %3$s AND valid_to > %3$s',
                       made.name, made.columns, asked)
             || CASE WHEN made.is_ordered THEN ' AND created <= ' || asked ELSE '' END;
        EXECUTE format('COMMENT ON TABLE history.%I IS %L', made.name, 'Through time: ' || made.says);
        EXECUTE format('COMMENT ON VIEW past.%I IS %L', made.name, 'As it was after crmledger.position: ' || made.says);
        EXECUTE format('COMMENT ON COLUMN history.%I.stream_id IS %L', made.name, 'The entity from whose events the row was made.');
        EXECUTE format('COMMENT ON COLUMN history.%I.valid_from IS %L', made.name, 'The position of the event after which the row looked so.');
        EXECUTE format('COMMENT ON COLUMN history.%I.valid_to IS %L', made.name,
                       'The position of the event after which it no longer did; the largest bigint while it still does.');
        EXECUTE format('GRANT SELECT ON past.%I TO crmledger_service', made.name);
    END LOOP;
    UPDATE analytics.progress SET position = 0, version = 0 WHERE view = 'history';
END $$;
COMMENT ON FUNCTION history.remake IS 'Makes the tables of history and the views of past anew, empty, after those of views.';
SELECT history.remake();

CREATE FUNCTION history.begin(
    in_organisation text, in_version integer, in_most integer,
    OUT at bigint, OUT in_generation bigint, OUT streams uuid[]
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written integer;
    name    text;
BEGIN
    INSERT INTO analytics.progress (organisation, view, version) VALUES (in_organisation, 'history', in_version)
    ON CONFLICT DO NOTHING;
    SELECT p.version, p.position, p.generation INTO written, at, in_generation FROM analytics.progress p
     WHERE p.organisation = in_organisation AND p.view = 'history' FOR UPDATE;
    IF written < in_version THEN
        at := 0;
        FOR name IN SELECT * FROM history.tables() UNION ALL SELECT 'dropped' LOOP
            EXECUTE format('DELETE FROM history.%I WHERE organisation = $1', name) USING in_organisation;
        END LOOP;
        UPDATE analytics.progress p SET position = 0, version = in_version, moved_at = clock_timestamp()
         WHERE p.organisation = in_organisation AND p.view = 'history';
    ELSIF written > in_version THEN
        at := NULL;
    END IF;
    streams := ARRAY(SELECT d.stream_id FROM history.dropped d WHERE d.organisation = in_organisation LIMIT in_most);
END $$;
COMMENT ON FUNCTION history.begin IS 'The position up to which the history of an organisation is written by this version of its definition, its generation, and some of the entities that are to be folded anew. What an older version has written is dropped; null if a newer one writes.';

CREATE FUNCTION history.write(
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
COMMENT ON FUNCTION history.write IS 'Moves the history of an organisation from one position to another and writes the rows that ended (as JSON, valid_from being where) and begun between them, in one transaction; false, and nothing is written, if it does not stand at the first. All former rows of in_streams are dropped.';

CREATE FUNCTION history.drop(in_organisation text, in_streams uuid[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    name text;
BEGIN
    -- Whoever is writing is waited for; whoever has only read will find that it was in vain.
    INSERT INTO analytics.progress AS p (organisation, view) VALUES (in_organisation, 'history')
    ON CONFLICT (organisation, view) DO UPDATE SET generation = p.generation + 1;
    FOR name IN SELECT * FROM history.tables() LOOP
        EXECUTE format('DELETE FROM history.%I WHERE organisation = $1 AND stream_id = ANY ($2)', name)
          USING in_organisation, in_streams;
    END LOOP;
    INSERT INTO history.dropped SELECT in_organisation, unnest(in_streams) ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION history.drop IS 'Drops the rows of entities, which are folded anew from what their events say now before anything is read again.';

-- A person is forgotten in the past, too, and in the same transaction.
CREATE FUNCTION history.forget() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM history.drop(NEW.organisation, ledger.streams_of(NEW.organisation, NEW.subject) || NEW.subject);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION history.forget IS 'Drops what history says of a person whose key is destroyed.';
CREATE TRIGGER history AFTER INSERT ON ledger.forgotten FOR EACH ROW EXECUTE FUNCTION history.forget();

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA history FROM PUBLIC;
GRANT USAGE ON SCHEMA history, past TO crmledger_service;
GRANT EXECUTE ON FUNCTION history.begin, history.write TO crmledger_service;
GRANT SELECT ON history.dropped TO crmledger_service;
