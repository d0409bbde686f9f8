CREATE OR REPLACE FUNCTION delivery.purge_decided(
    in_organisation text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM delivery.entries d
     WHERE d.organisation = in_organisation AND d.lease_expires_at < clock_timestamp()
       AND NOT EXISTS (SELECT FROM views.queue_entries q
                        WHERE q.organisation = in_organisation AND q.id = d.entry
                          AND q.life_cycle_state = 'PENDING')
$$;

COMMENT ON FUNCTION delivery.purge_decided IS
    'Drops what is kept of entries that others have decided.';
REVOKE ALL ON FUNCTION delivery.purge_decided FROM PUBLIC;
GRANT EXECUTE ON FUNCTION delivery.purge_decided TO crmledger_service;
