CREATE OR REPLACE FUNCTION delivery.complete(
    in_organisation text, in_entry text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM delivery.entries d
     WHERE d.organisation = in_organisation AND d.entry = in_entry
       AND NOT EXISTS (SELECT FROM views.queue_entries q
                        WHERE q.organisation = in_organisation AND q.id = in_entry
                          AND q.life_cycle_state = 'PENDING')
$$;

COMMENT ON FUNCTION delivery.complete IS
    'Drops what is kept of an entry whose outcome is an event.';
REVOKE ALL ON FUNCTION delivery.complete FROM PUBLIC;
GRANT EXECUTE ON FUNCTION delivery.complete TO crmledger_service;
