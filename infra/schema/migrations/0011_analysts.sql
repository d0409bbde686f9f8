-- For analysts: the states that entities have been in, who may see what belongs to a person, and what the
-- objects of the schema analytics are made with. The views themselves are derived from the field table
-- (infra/analytics) and put up by whoever migrates.

CREATE TABLE analytics.transitions (
    organisation     text        NOT NULL,
    entity           text        NOT NULL,
    id               text        NOT NULL,
    state            text        NOT NULL,
    topic            text        NOT NULL,
    entered_position bigint      NOT NULL,
    entered_at       timestamptz NOT NULL,
    left_position    bigint,
    left_at          timestamptz,
    actor            text,
    unit             text,
    seconds          double precision GENERATED ALWAYS AS (extract(epoch FROM left_at - entered_at)) STORED,
    changed_position bigint           GENERATED ALWAYS AS (coalesce(left_position, entered_position)) STORED,
    PRIMARY KEY (organisation, id, entered_position)
);
CREATE INDEX transitions_open ON analytics.transitions (organisation, id) WHERE left_position IS NULL;
CREATE INDEX transitions_state ON analytics.transitions (organisation, entity, state, entered_at);
INSERT INTO ledger.view_versions (view, version) VALUES ('analytics.transitions', 1);
GRANT SELECT ON analytics.transitions TO crmledger_service, crmledger_projector, crmledger_analyst;
GRANT INSERT, UPDATE ON analytics.transitions TO crmledger_projector;

CREATE FUNCTION analytics.wall_clock(in_java text) RETURNS timestamp LANGUAGE sql STABLE AS $$
    SELECT (substr(in_java, 9, 2) || ' ' || substr(in_java, 5, 3) || ' ' || right(in_java, 4) || ' '
            || substr(in_java, 12, 8))::timestamp
$$;
COMMENT ON FUNCTION analytics.wall_clock IS 'The date of a text in Java style, as Mon May 05 15:49:59 EEST 2014.';

CREATE TABLE analytics.definition (
    one          boolean     PRIMARY KEY DEFAULT true CHECK (one),
    checksum     text        NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE analytics.definition IS 'Which definition of the views in this schema is installed.';

CREATE FUNCTION analytics.take_down() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    former text;
BEGIN
    SELECT string_agg(v.oid::regclass::text, ', ') INTO former
      FROM pg_class v WHERE v.relnamespace = 'analytics'::regnamespace AND v.relkind = 'v';
    IF former IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || former;
    END IF;
    DELETE FROM analytics.definition;
END $$;
COMMENT ON FUNCTION analytics.take_down IS 'Drops the views of this schema, as a migration must that changes a column under them; whoever migrates puts them up again.';
REVOKE ALL ON FUNCTION analytics.take_down FROM PUBLIC;

SELECT ledger.have_role('crmledger_analyst_personal');
DO $$
BEGIN
    GRANT crmledger_analyst TO crmledger_analyst_personal;
EXCEPTION WHEN insufficient_privilege OR unique_violation THEN
    IF NOT pg_has_role('crmledger_analyst_personal', 'crmledger_analyst', 'MEMBER') THEN
        RAISE;
    END IF;
END $$;

CREATE FUNCTION analytics.admit(in_role name, in_personal boolean DEFAULT false) RETURNS void LANGUAGE plpgsql AS $$
-- A role's settings count for whoever logs in as it, not for its members: so each analyst's role gets them.
DECLARE
    granted constant name := CASE WHEN in_personal THEN 'crmledger_analyst_personal' ELSE 'crmledger_analyst' END;
    setting text;
BEGIN
    EXECUTE format('GRANT %I TO %I', granted, in_role);
    FOREACH setting IN ARRAY ARRAY[
        'default_transaction_read_only = on', 'statement_timeout = ''60s''', 'lock_timeout = ''2s''',
        'idle_in_transaction_session_timeout = ''60s''', 'work_mem = ''16MB''', 'max_parallel_workers_per_gather = 0',
        'search_path = analytics', 'timezone = ''UTC''']
    LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %s', in_role, current_database(), setting);
    END LOOP;
    EXECUTE format('ALTER ROLE %I CONNECTION LIMIT 5', in_role);
END $$;
COMMENT ON FUNCTION analytics.admit IS 'Lets a login role read the schema analytics, with limits that keep it from holding up the service; with in_personal in clear what belongs to a person.';
REVOKE ALL ON FUNCTION analytics.admit FROM PUBLIC;
