CREATE OR REPLACE FUNCTION ledger.rejected_commands(
    in_organisation text, in_effects jsonb[], in_kinds text[], in_moment timestamptz,
    in_events ledger.new_event[]
) RETURNS TABLE (command integer, verdict text, detail text) LANGUAGE plpgsql STABLE AS $$
-- A question is asked only where a command wants it: one statement for all of them costs its
-- preparation every time.
BEGIN
    IF 'key' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'REPEATED', ''
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               LATERAL (SELECT a.recorded_at FROM ledger.stored_responses a
                         WHERE a.organisation = in_organisation AND a.key = e.effects ->> 'key'
                           AND a.caller = e.effects ->> 'caller'
                         LIMIT 1) AS a
         WHERE a.recorded_at > in_moment - interval '24 hours';
        RETURN QUERY
        SELECT e.n::integer, 'SETTLED', 'Idempotency-Key'
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               LATERAL (SELECT FROM ledger.revoked_keys s
                         WHERE s.organisation = in_organisation
                           AND s.caller = e.effects ->> 'caller'
                           AND s.key = e.effects ->> 'key' LIMIT 1) AS s;
    END IF;
    RETURN QUERY
    SELECT f.command, 'CONFLICT', f.stream::text
      FROM (SELECT u.command, u.stream, min(u.version) AS first
              FROM unnest(in_events) AS u
             GROUP BY u.command, u.stream) AS f
     WHERE f.first - 1 <> coalesce((SELECT max(e.version) FROM ledger.events e
                                     WHERE e.organisation = in_organisation
                                       AND e.stream_id = f.stream), 0);
    IF 'expect' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CONFLICT', t.stream::text
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'expect') AS t (stream uuid, version integer)
         WHERE t.version <> coalesce((SELECT max(v.version) FROM ledger.events v
                                       WHERE v.organisation = in_organisation
                                         AND v.stream_id = t.stream), 0);
    END IF;
    IF 'expect_tokens' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CONFLICT', t.column
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'expect_tokens')
                   AS t ("column" text, id text, count integer)
         WHERE t.count <> ledger.count_tokens(in_organisation, t.column, t.id);
    END IF;
    IF 'expect_keys' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT t.n::integer, 'CONFLICT', t.subject
          FROM (SELECT e.n, jsonb_array_elements_text(e.effects -> 'expect_keys') AS subject
                  FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n)) AS t
         -- A subquery of one row: NOT EXISTS may be planned as a join with all keys of the
         -- organisation.
         WHERE (SELECT true FROM ledger.personal_keys k
                 WHERE k.organisation = in_organisation AND k.subject = t.subject::uuid) IS NULL;
    END IF;
    IF 'forget' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CONFLICT', t.subject::text
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'forget') AS t (subject uuid, streams integer)
         WHERE t.streams <> cardinality(ledger.streams_of_subject(in_organisation, t.subject));
    END IF;
    IF 'limit_tokens' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'LIMITED', t.column || '_identifier'
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'limit_tokens')
                   AS t ("column" text, id text, most integer)
         WHERE t.most <= ledger.count_tokens(in_organisation, t.column, t.id);
    END IF;
    IF 'count_notices' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'LIMITED', 'count_notices'
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'count_notices')
                   AS t (contact text, count integer, most integer)
         WHERE t.most < t.count + coalesce((SELECT sum(c.count) FROM ledger.notices c
                                             WHERE c.organisation = in_organisation
                                               AND c.contact = t.contact
                                               AND c.counted_at > in_moment - interval '1 hour'),
                                           0);
    END IF;
    IF 'secrets' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CLAIMED', t.name
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'secrets')
                   AS t (owner text, name text, verifier text, expires_at timestamptz),
               LATERAL (SELECT FROM ledger.secrets s
                         WHERE s.organisation = in_organisation AND s.name = t.name
                           AND s.verifier = t.verifier
                           AND s.expires_at > in_moment AND s.owner <> t.owner LIMIT 1) AS s
         WHERE t.expires_at IS NOT NULL;
    END IF;
    IF 'take' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CLAIMED', t.at
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'take') AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.claims c
                         WHERE c.organisation = in_organisation AND c.claim = t.claim
                           AND c.stream_id <> t.stream
                         LIMIT 1) AS c;
    END IF;
    IF 'take_worldwide' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CLAIMED', t.at
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'take_worldwide')
                   AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.global_claims c
                         WHERE c.claim = t.claim
                           AND (c.organisation <> in_organisation OR c.stream_id <> t.stream)
                         LIMIT 1) AS c;
    END IF;
END $$;

COMMENT ON FUNCTION ledger.rejected_commands IS
    'The commands of a batch that must not be written, each with its reasons; the first one '
    'counts. in_kinds are the kinds of effects that the batch has.';
REVOKE ALL ON FUNCTION ledger.rejected_commands FROM PUBLIC;
