CREATE OR REPLACE FUNCTION ledger.forgive_guesses(
    in_organisation text, in_secrets text[], in_sources text[]
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own ledger.guesses;
BEGIN
    IF in_secrets[1] IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM ledger.guesses g
       JOIN unnest(in_secrets, in_sources) AS c (secret, source)
         ON c.secret = g.secret AND c.source = g.source
      WHERE g.organisation = in_organisation
      ORDER BY g.secret, g.source FOR UPDATE OF g;
    SELECT g.* INTO own FROM ledger.guesses g
     WHERE g.organisation = in_organisation AND g.secret = in_secrets[1]
       AND g.source = in_sources[1];
    -- What a known source has tried is in its own counter alone. A counter that has begun anew
    -- since the first of these tries holds the last one at most; a wait that another try has
    -- brought about stays.
    UPDATE ledger.guesses g
       SET tries = greatest(g.tries - CASE WHEN g.first_at <= own.first_at THEN own.tries
                                           WHEN g.last_at = own.last_at THEN 1 ELSE 0 END, 0),
           next_at = CASE WHEN g.last_at = own.last_at THEN '-infinity' ELSE g.next_at END
      FROM unnest(in_secrets[2:], in_sources[2:]) AS c (secret, source)
     WHERE g.organisation = in_organisation AND g.secret = c.secret AND g.source = c.source
       AND own.tries > 0 AND NOT own.succeeded;
    UPDATE ledger.guesses g
       SET tries = 0, next_at = '-infinity', succeeded = true, last_at = clock_timestamp()
     WHERE g.organisation = in_organisation AND g.secret = in_secrets[1]
       AND g.source = in_sources[1];
END $$;

COMMENT ON FUNCTION ledger.forgive_guesses IS
    'Forgets the tries of the first counter, of a secret and a source that has now succeeded with '
    'it, in all counters with the wait that the last of them has brought about, and remembers that '
    'it has. Nothing without such a counter.';
REVOKE ALL ON FUNCTION ledger.forgive_guesses FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.forgive_guesses TO crmledger_service;
