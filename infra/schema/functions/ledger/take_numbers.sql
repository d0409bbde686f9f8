CREATE OR REPLACE FUNCTION ledger.take_numbers(
    in_organisation text, in_names text[], in_counts integer[]
) RETURNS TABLE (name text, last bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Must be durable before a number is used: after a crash of the server it would be given out
    -- again.
    RETURN QUERY
        INSERT INTO ledger.sequences AS s (organisation, name, value)
        SELECT in_organisation, t.name, t.count FROM unnest(in_names, in_counts) AS t (name, count)
         ORDER BY t.name
        ON CONFLICT ON CONSTRAINT sequences_pkey DO UPDATE SET value = s.value + excluded.value
        RETURNING s.name, s.value;
END $$;

COMMENT ON FUNCTION ledger.take_numbers IS
    'Gives out so many numbers of each sequence; returns the last one of each.';
REVOKE ALL ON FUNCTION ledger.take_numbers FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.take_numbers TO crmledger_service;
