CREATE OR REPLACE FUNCTION ledger.count_guess(
    in_organisation text, in_secrets text[], in_sources text[], in_free integer[],
    in_first_wait integer, in_longest_wait integer, in_fits boolean
) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    turn   bigint := hashtextextended(concat_ws(' ', in_organisation, in_sources[1]), 0);
    moment timestamptz;
    known  boolean;
    wait   integer := ledger.guess_wait(in_organisation, in_secrets, in_sources);
BEGIN
    -- Whoever has to wait writes nothing, and lets nobody else wait.
    IF wait > 0 THEN
        RETURN wait;
    END IF;
    -- Tries of one source take turns: one that fits must not pass before the wrong ones ahead of it
    -- are counted. Those that fit keep none of their kind waiting.
    IF in_fits THEN
        PERFORM pg_advisory_xact_lock_shared(turn);
    ELSE
        PERFORM pg_advisory_xact_lock(turn);
    END IF;
    -- What fits is not written down where nothing is counted by it, nor again and again.
    IF in_fits AND (in_secrets[1] IS NULL OR EXISTS (
        SELECT FROM ledger.guesses g
         WHERE g.organisation = in_organisation AND g.secret = in_secrets[1]
           AND g.source = in_sources[1] AND g.succeeded AND g.tries = 0
           AND g.last_at > clock_timestamp() - interval '1 day'))
    THEN
        RETURN ledger.guess_wait(in_organisation, in_secrets, in_sources);
    END IF;
    INSERT INTO ledger.guesses (organisation, secret, source)
    SELECT in_organisation, c.secret, c.source
      FROM unnest(in_secrets, in_sources) AS c (secret, source)
     WHERE c.secret IS NOT NULL
     ORDER BY c.secret, c.source
    ON CONFLICT DO NOTHING;
    -- Whoever tries the same secret from elsewhere meanwhile waits here, and counts on from what
    -- this try leaves behind.
    PERFORM FROM ledger.guesses g
       JOIN unnest(in_secrets, in_sources) AS c (secret, source)
         ON c.secret = g.secret AND c.source = g.source
      WHERE g.organisation = in_organisation
      ORDER BY g.secret, g.source FOR UPDATE OF g;
    moment := clock_timestamp();
    UPDATE ledger.guesses g SET tries = 0, next_at = '-infinity', first_at = moment
      FROM unnest(in_secrets, in_sources) AS c (secret, source)
     WHERE g.organisation = in_organisation AND g.secret = c.secret AND g.source = c.source
       AND g.first_at < moment - interval '24 hours' AND g.next_at < moment AND g.tries > 0;
    wait := ledger.guess_wait(in_organisation, in_secrets, in_sources);
    IF wait > 0 OR in_fits THEN
        IF wait = 0 THEN
            PERFORM ledger.forgive_guesses(in_organisation, in_secrets, in_sources);
        END IF;
        RETURN wait;
    END IF;
    known := EXISTS (
        SELECT FROM ledger.guesses g
         WHERE g.organisation = in_organisation AND g.secret = in_secrets[1]
           AND g.source = in_sources[1] AND g.succeeded);
    UPDATE ledger.guesses g
       SET tries = g.tries + 1, last_at = moment,
           first_at = CASE WHEN g.tries = 0 THEN moment ELSE g.first_at END,
           next_at = CASE WHEN g.tries + 1 < c.free THEN '-infinity'::timestamptz
                          ELSE moment + least(in_longest_wait,
                                              in_first_wait * 2.0 ^ least(g.tries + 1 - c.free, 30))
                                        * interval '1 second' END
      FROM unnest(in_secrets, in_sources, in_free) WITH ORDINALITY AS c (secret, source, free, n)
     WHERE g.organisation = in_organisation AND g.secret = c.secret AND g.source = c.source
       AND (c.n = 1 OR NOT known);
    RETURN 0;
END $$;

COMMENT ON FUNCTION ledger.count_guess IS
    'Counts a try of a secret: 0 if it may be made, else the seconds to wait (nothing is counted '
    'then). The arrays name the counters: first that of the secret and the source, the others do '
    'not hold for a source that has succeeded with the secret. So many tries are free; each '
    'further one costs a wait, doubled up to the longest. in_fits says whether the secret fits '
    'where that is known and not yet told; null: the try is counted before it is made, and '
    'ledger.forgive_guesses follows.';
REVOKE ALL ON FUNCTION ledger.count_guess FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.count_guess TO crmledger_service;
