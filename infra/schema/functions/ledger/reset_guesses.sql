CREATE OR REPLACE FUNCTION ledger.reset_guesses(
    in_organisation text, in_secret text, in_source text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own integer;
BEGIN
    PERFORM FROM ledger.guesses g
      WHERE g.organisation = in_organisation AND g.secret = in_secret
        AND g.source IN ('', in_source)
      ORDER BY g.source FOR UPDATE;
    SELECT CASE WHEN g.succeeded THEN 0 ELSE g.tries END INTO own FROM ledger.guesses g
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = in_source;
    UPDATE ledger.guesses g SET tries = greatest(g.tries - own, 0)
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = '' AND own > 0;
    UPDATE ledger.guesses g SET tries = 0, next_at = '-infinity', succeeded = true
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = in_source;
END $$;

COMMENT ON FUNCTION ledger.reset_guesses IS
    'Forgets the tries of a source that has succeeded, and remembers that it has.';
REVOKE ALL ON FUNCTION ledger.reset_guesses FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.reset_guesses TO crmledger_service;
