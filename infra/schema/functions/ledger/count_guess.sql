CREATE OR REPLACE FUNCTION ledger.count_guess(
    in_organisation text, in_secret text, in_source text,
    in_per_source integer, in_per_secret integer, in_first_wait integer, in_longest_wait integer
) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moment timestamptz;
    known  boolean;
    wait   double precision;
BEGIN
    INSERT INTO ledger.guesses (organisation, secret, source)
    VALUES (in_organisation, in_secret, ''), (in_organisation, in_secret, in_source)
    ON CONFLICT DO NOTHING;
    -- Whoever tries the same secret meanwhile waits here, and counts on from what this try leaves
    -- behind.
    PERFORM FROM ledger.guesses g
      WHERE g.organisation = in_organisation AND g.secret = in_secret
        AND g.source IN ('', in_source)
      ORDER BY g.source FOR UPDATE;
    moment := clock_timestamp();
    UPDATE ledger.guesses g SET tries = 0, next_at = '-infinity'
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source IN ('', in_source)
       AND g.last_at < moment - interval '24 hours' AND g.tries > 0;
    SELECT g.succeeded INTO known FROM ledger.guesses g
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = in_source;
    SELECT max(extract(epoch FROM g.next_at - moment)) INTO wait FROM ledger.guesses g
     WHERE g.organisation = in_organisation AND g.secret = in_secret
       AND (g.source = in_source OR g.source = '' AND NOT known) AND g.next_at > moment;
    IF wait IS NOT NULL THEN
        RETURN ceil(wait);
    END IF;
    UPDATE ledger.guesses g
       SET tries = g.tries + 1, last_at = moment,
           next_at = CASE WHEN g.tries + 1 < l.free THEN '-infinity'::timestamptz
                          ELSE moment + least(in_longest_wait,
                                              in_first_wait * 2.0 ^ least(g.tries + 1 - l.free, 30))
                                        * interval '1 second' END
      FROM (SELECT CASE WHEN s.source = '' THEN in_per_secret ELSE in_per_source END AS free,
                   s.source
              FROM unnest(ARRAY['', in_source]) AS s (source)) AS l
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = l.source
       AND (g.source = in_source OR NOT known);
    RETURN 0;
END $$;

COMMENT ON FUNCTION ledger.count_guess IS
    'Counts a try of a secret before it is made: 0 if it may be made, else the seconds to wait '
    '(nothing is counted then). So many tries are free, for one source and for all that never '
    'succeeded together; each further one costs a wait, doubled up to the longest.';
REVOKE ALL ON FUNCTION ledger.count_guess FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.count_guess TO crmledger_service;
