CREATE OR REPLACE FUNCTION analytics.grant_access(
    in_role name, in_personal boolean DEFAULT false
) RETURNS void LANGUAGE plpgsql AS $$
-- A role's settings count for whoever logs in as it, not for its members: so each analyst's role
-- gets them.
DECLARE
    granted constant name := CASE WHEN in_personal THEN 'crmledger_analyst_personal'
                                  ELSE 'crmledger_analyst' END;
    setting text;
BEGIN
    EXECUTE format('GRANT %I TO %I', granted, in_role);
    FOREACH setting IN ARRAY ARRAY[
        'default_transaction_read_only = on', 'statement_timeout = ''60s''',
        'lock_timeout = ''2s''', 'idle_in_transaction_session_timeout = ''60s''',
        'work_mem = ''16MB''', 'max_parallel_workers_per_gather = 0', 'search_path = analytics',
        'timezone = ''UTC''']
    LOOP
        EXECUTE format('ALTER ROLE %I IN DATABASE %I SET %s', in_role, current_database(), setting);
    END LOOP;
    EXECUTE format('ALTER ROLE %I CONNECTION LIMIT 5', in_role);
END $$;

COMMENT ON FUNCTION analytics.grant_access IS
    'Lets a login role read the schema analytics, with limits that keep it from holding up the '
    'service; with in_personal in clear what belongs to a person.';
REVOKE ALL ON FUNCTION analytics.grant_access FROM PUBLIC;
