CREATE OR REPLACE FUNCTION ledger.guess_wait(
    in_organisation text, in_secrets text[], in_sources text[]
) RETURNS integer LANGUAGE sql AS $$
    WITH counters AS (
        SELECT c.n, g.next_at, g.succeeded
          FROM unnest(in_secrets, in_sources) WITH ORDINALITY AS c (secret, source, n)
          JOIN ledger.guesses g ON g.organisation = in_organisation
           AND g.secret = c.secret AND g.source = c.source)
    SELECT coalesce(ceil(max(extract(epoch FROM c.next_at - clock_timestamp()))), 0)::integer
      FROM counters c
     WHERE c.next_at > clock_timestamp()
       AND (c.n = 1 OR NOT EXISTS (SELECT FROM counters k WHERE k.n = 1 AND k.succeeded))
$$;

COMMENT ON FUNCTION ledger.guess_wait IS
    'The seconds to wait before a try; 0 if it may be made. The arrays name the counters, as for '
    'ledger.count_guess.';
REVOKE ALL ON FUNCTION ledger.guess_wait FROM PUBLIC;
