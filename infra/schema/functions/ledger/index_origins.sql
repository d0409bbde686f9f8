CREATE OR REPLACE FUNCTION ledger.index_origins(
    in_organisation text, in_upto bigint, in_most integer
) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted bigint;
BEGIN
    -- Positions are dense and noted in their order, so the last one says that all before it are.
    SELECT coalesce(max(o.position), 0) INTO noted FROM ledger.origins o
     WHERE o.organisation = in_organisation;
    INSERT INTO ledger.origins (organisation, position, actor, request, correlation)
    SELECT e.organisation, e.position, e.metadata ->> 'user', e.metadata ->> 'request',
           e.metadata ->> 'correlation'
      FROM ledger.events e
     WHERE e.organisation = in_organisation AND e.position > noted
       AND e.position <= least(in_upto, noted + in_most)
    ON CONFLICT DO NOTHING;
    RETURN greatest(noted, least(in_upto, noted + in_most));
END $$;

COMMENT ON FUNCTION ledger.index_origins IS
    'Notes the origins of so many events at most, up to a position; up to which one they are '
    'noted then.';
REVOKE ALL ON FUNCTION ledger.index_origins FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.index_origins TO crmledger_service;
