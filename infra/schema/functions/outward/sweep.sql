CREATE OR REPLACE FUNCTION outward.sweep(
    in_organisation text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM outward.deliveries d
     WHERE d.organisation = in_organisation AND d.leased_until < clock_timestamp()
       AND NOT EXISTS (SELECT FROM views.queue_entries q
                        WHERE q.organisation = in_organisation AND q.id = d.entry
                          AND q.life_cycle_state = 'PENDING')
$$;

COMMENT ON FUNCTION outward.sweep IS 'Drops what is kept of entries that others have decided.';
REVOKE ALL ON FUNCTION outward.sweep FROM PUBLIC;
GRANT EXECUTE ON FUNCTION outward.sweep TO crmledger_service;
