CREATE OR REPLACE FUNCTION outward.done(
    in_organisation text, in_entry text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM outward.deliveries d
     WHERE d.organisation = in_organisation AND d.entry = in_entry
       AND NOT EXISTS (SELECT FROM views.queue_entries q
                        WHERE q.organisation = in_organisation AND q.id = in_entry
                          AND q.life_cycle_state = 'PENDING')
$$;

COMMENT ON FUNCTION outward.done IS 'Drops what is kept of an entry whose outcome is a fact.';
REVOKE ALL ON FUNCTION outward.done FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outward.done TO crmledger_service;
