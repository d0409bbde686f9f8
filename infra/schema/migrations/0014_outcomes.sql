-- What became of a call: noted with every call that has an idempotency key, for those who ask later.

CREATE TABLE ledger.outcomes (
    organisation text        NOT NULL,
    caller       text        NOT NULL,
    key          text        NOT NULL,
    command      text        NOT NULL,
    position     bigint      NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (organisation, caller, key)
);
CREATE INDEX outcomes_by_age ON ledger.outcomes (organisation, recorded_at);
COMMENT ON TABLE ledger.outcomes IS 'Which calls with an Idempotency-Key were written, kept for 7 days: longer than their answers.';
COMMENT ON COLUMN ledger.outcomes.caller IS 'The user who called, a slash, and the customer''s account in whose session; nobody else is told.';
COMMENT ON COLUMN ledger.outcomes.position IS 'The last position that the call has written; that of the ledger at that moment if it wrote no event.';

CREATE TABLE ledger.settled_keys (
    organisation text        NOT NULL,
    caller       text        NOT NULL,
    key          text        NOT NULL,
    settled_at   timestamptz NOT NULL,
    PRIMARY KEY (organisation, caller, key)
);
COMMENT ON TABLE ledger.settled_keys IS 'Keys of which their callers were told that nothing was written and nothing will be: a call that comes with one is refused, for ever.';
GRANT SELECT ON ledger.outcomes, ledger.settled_keys TO crmledger_service;

-- Kinds of effects that no command of the batch has are not asked about, as they are not written.
CREATE OR REPLACE FUNCTION ledger.losers(
    in_organisation text, in_effects jsonb[], in_moment timestamptz,
    event_command integer[], event_stream uuid[], event_version integer[]
) RETURNS TABLE (command integer, verdict text, detail text) LANGUAGE sql STABLE AS $$
    WITH items AS MATERIALIZED (
        SELECT e.n, i.key, i.value
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n), jsonb_each(e.effects) AS i
         WHERE e.effects <> '{}'
    )
    SELECT DISTINCT ON (refused.command) refused.command::integer, refused.verdict, refused.detail
      FROM (
        SELECT i.n AS command, 1 AS rank, 'REPEATED' AS verdict, '' AS detail
          FROM items i,
               LATERAL (SELECT a.recorded_at FROM ledger.answers a
                         WHERE a.organisation = in_organisation AND a.key = i.value #>> '{}' LIMIT 1) AS a
         WHERE i.key = 'key' AND a.recorded_at > in_moment - interval '24 hours'
        UNION ALL
        SELECT i.n, 1, 'SETTLED', 'Idempotency-Key'
          FROM items i,
               LATERAL (SELECT FROM ledger.settled_keys s
                         WHERE s.organisation = in_organisation AND s.caller = in_effects[i.n] ->> 'caller'
                           AND s.key = i.value #>> '{}' LIMIT 1) AS s
         WHERE i.key = 'key'
        UNION ALL
        SELECT f.command, 2, 'CONFLICT', f.stream::text
          FROM (SELECT u.command, u.stream, min(u.version) AS first
                  FROM unnest(event_command, event_stream, event_version) AS u (command, stream, version)
                 GROUP BY u.command, u.stream) AS f
         WHERE f.first - 1 <> coalesce((SELECT max(e.version) FROM ledger.events e
                                         WHERE e.organisation = in_organisation AND e.stream_id = f.stream), 0)
        UNION ALL
        SELECT i.n, 2, 'CONFLICT', t.stream::text
          FROM items i,
               jsonb_to_recordset(i.value) AS t (stream uuid, version integer)
         WHERE i.key = 'expect' AND t.version <> coalesce((SELECT max(v.version) FROM ledger.events v
                                       WHERE v.organisation = in_organisation AND v.stream_id = t.stream), 0)
        UNION ALL
        SELECT i.n, 2, 'CONFLICT', t.column
          FROM items i,
               jsonb_to_recordset(i.value) AS t ("column" text, id text, count integer)
         WHERE i.key = 'expect_tokens' AND t.count <> CASE t.column
                   WHEN 'accounts_receivable' THEN
                       (SELECT count(*) FROM views.access_tokens v
                         WHERE v.organisation = in_organisation AND v.accounts_receivable = t.id)
                   ELSE (SELECT count(*) FROM views.access_tokens v
                          WHERE v.organisation = in_organisation AND v.rewards_participant = t.id) END
        UNION ALL
        SELECT i.n, 2, 'CONFLICT', t.subject
          FROM items i,
               jsonb_array_elements_text(i.value) AS t (subject)
         WHERE i.key = 'expect_keys' AND NOT EXISTS (SELECT FROM ledger.personal_keys k
                            WHERE k.organisation = in_organisation AND k.subject = t.subject::uuid)
        UNION ALL
        SELECT i.n, 2, 'CONFLICT', t.subject::text
          FROM items i,
               jsonb_to_recordset(i.value) AS t (subject uuid, streams integer)
         WHERE i.key = 'forget' AND t.streams <> cardinality(ledger.streams_of(in_organisation, t.subject))
        UNION ALL
        SELECT i.n, 3, 'LIMITED', t.column || '_identifier'
          FROM items i,
               jsonb_to_recordset(i.value) AS t ("column" text, id text, most integer)
         WHERE i.key = 'limit_tokens' AND t.most <= CASE t.column
                   WHEN 'accounts_receivable' THEN
                       (SELECT count(*) FROM views.access_tokens v
                         WHERE v.organisation = in_organisation AND v.accounts_receivable = t.id)
                   ELSE (SELECT count(*) FROM views.access_tokens v
                          WHERE v.organisation = in_organisation AND v.rewards_participant = t.id) END
        UNION ALL
        SELECT i.n, 4, 'CLAIMED', t.name
          FROM items i,
               jsonb_to_recordset(i.value)
                   AS t (owner text, name text, verifier text, expires_at timestamptz),
               LATERAL (SELECT FROM ledger.secrets s
                         WHERE s.organisation = in_organisation AND s.name = t.name AND s.verifier = t.verifier
                           AND s.expires_at > in_moment AND s.owner <> t.owner LIMIT 1) AS s
         WHERE i.key = 'secrets' AND t.expires_at IS NOT NULL
        UNION ALL
        SELECT i.n, 4, 'CLAIMED', t.at
          FROM items i,
               jsonb_to_recordset(i.value) AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.claims c
                         WHERE c.organisation = in_organisation AND c.claim = t.claim AND c.stream_id <> t.stream
                         LIMIT 1) AS c
         WHERE i.key = 'take'
        UNION ALL
        SELECT i.n, 4, 'CLAIMED', t.at
          FROM items i,
               jsonb_to_recordset(i.value) AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.world_claims c
                         WHERE c.claim = t.claim AND (c.organisation <> in_organisation OR c.stream_id <> t.stream)
                         LIMIT 1) AS c
         WHERE i.key = 'take_worldwide'
      ) AS refused
     ORDER BY refused.command, refused.rank
$$;

CREATE OR REPLACE FUNCTION ledger.append(
    in_organisation text, in_deadline timestamptz,
    in_metadata text[], in_effects text[], in_answers bytea[],
    event_command integer[], event_stream uuid[], event_version integer[], event_topic text[],
    event_schema smallint[], event_subject uuid[], event_payload text[],
    view_command integer[], view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS TABLE (command integer, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = views, pg_catalog, pg_temp AS $$
DECLARE
    effects  jsonb[] := in_effects::jsonb[];
    lost     integer[];
    verdicts text[];
    details  text[];
    head     bigint;
    moment   timestamptz;
BEGIN
    -- Before any view is read: whoever holds appends up, to let views change places, must not meet one that has them.
    LOCK TABLE ledger.events IN ROW EXCLUSIVE MODE;
    PERFORM pg_advisory_xact_lock(ledger.append_lock(in_organisation));
    moment := clock_timestamp();
    -- A batch that lay on its way for long, or whose caller lost its connection and was told by
    -- ledger.settle that nothing was written, must not be written any more.
    IF moment > in_deadline OR ledger.is_given_up(in_organisation, in_metadata) THEN
        RETURN QUERY SELECT n, 'LATE', '' FROM generate_series(1, cardinality(in_metadata)) AS n;
        RETURN;
    END IF;
    SELECT e.position, greatest(moment, e.recorded_at) INTO head, moment
      FROM ledger.events e WHERE e.organisation = in_organisation ORDER BY e.position DESC LIMIT 1;
    moment := coalesce(moment, clock_timestamp());

    SELECT coalesce(array_agg(l.command), '{}'), array_agg(l.verdict), array_agg(l.detail)
      INTO lost, verdicts, details
      FROM ledger.losers(in_organisation, effects, moment, event_command, event_stream, event_version) AS l;

    INSERT INTO ledger.events (organisation, position, stream_id, version, topic, schema_version, subject, payload,
           metadata, recorded_at, event_hash)
    SELECT in_organisation, f.position, f.stream, f.version, f.topic, f.schema, f.subject, f.payload::json,
           f.metadata::json, moment,
           ledger.event_hash(in_organisation, f.position, f.stream, f.version, f.topic, f.schema, f.subject,
                             f.payload, f.metadata, moment)
      FROM (SELECT coalesce(head, 0) + row_number() OVER (ORDER BY u.n) AS position, u.*,
                   in_metadata[u.command] AS metadata
              FROM unnest(event_command, event_stream, event_version, event_topic, event_schema, event_subject, event_payload)
                       WITH ORDINALITY AS u (command, stream, version, topic, schema, subject, payload, n)
             WHERE u.command <> ALL (lost)) AS f;

    IF '{}' <> ANY (effects) THEN
        PERFORM ledger.write_effects(in_organisation, array_agg(e.effects ORDER BY e.n), moment)
           FROM unnest(effects) WITH ORDINALITY AS e (effects, n) WHERE e.n <> ALL (lost) AND e.effects <> '{}';
    END IF;
    INSERT INTO ledger.answers (organisation, key, command, request_hash, answer, recorded_at)
    SELECT in_organisation, e.effects ->> 'key', in_metadata[e.n]::json ->> 'command',
           e.effects ->> 'request_hash', in_answers[e.n], moment
      FROM unnest(effects) WITH ORDINALITY AS e (effects, n)
     WHERE e.n <> ALL (lost) AND e.effects ? 'key'
    ON CONFLICT (organisation, key) DO UPDATE
       SET command = excluded.command, request_hash = excluded.request_hash, answer = excluded.answer, recorded_at = excluded.recorded_at;

    IF EXISTS (SELECT FROM unnest(effects) AS e (effects) WHERE e.effects ? 'caller') THEN
        -- Events stand in the order of their commands: so many come up to the last one of a command.
        INSERT INTO ledger.outcomes (organisation, caller, key, command, position, recorded_at)
        SELECT in_organisation, e.effects ->> 'caller', e.effects ->> 'key', in_metadata[e.n]::json ->> 'command',
               e.position, moment
          FROM (SELECT u.n, u.effects, coalesce(head, 0) + (sum(coalesce(f.events, 0)) OVER (ORDER BY u.n))::bigint AS position
                  FROM unnest(effects) WITH ORDINALITY AS u (effects, n)
                  LEFT JOIN (SELECT w.command, count(*) AS events FROM unnest(event_command) AS w (command)
                              WHERE w.command <> ALL (lost) GROUP BY 1) AS f ON f.command = u.n) AS e
         WHERE e.n <> ALL (lost) AND e.effects ? 'caller'
        ON CONFLICT (organisation, caller, key) DO UPDATE
           SET command = excluded.command, position = excluded.position, recorded_at = excluded.recorded_at;
    END IF;

    IF cardinality(lost) = 0 THEN
        PERFORM ledger.write_views(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    ELSE
        PERFORM ledger.write_views(in_organisation, array_agg(w.name ORDER BY w.n), array_agg(w.stream ORDER BY w.n),
                                   array_agg(w.version ORDER BY w.n), array_agg(w.columns ORDER BY w.n),
                                   array_agg(w.document ORDER BY w.n), array_agg(w.refs ORDER BY w.n))
           FROM unnest(view_command, view_name, view_stream, view_version, view_columns, view_document, view_refs)
                    WITH ORDINALITY AS w (command, name, stream, version, columns, document, refs, n)
          WHERE w.command <> ALL (lost);
    END IF;

    RETURN QUERY SELECT * FROM unnest(lost, verdicts, details);
END $$;
COMMENT ON FUNCTION ledger.append IS
    'Writes a batch of commands of one organisation: each wholly or not at all, the events at dense positions. Returns the commands that were not written: REPEATED (the idempotency key is known), SETTLED (it was said of the key that nothing will be written with it), CONFLICT (another event came first), CLAIMED (a uniqueness claim is taken; detail names the parameter), LIMITED (what is limited is used up), LATE (all of them: the deadline had passed, or the batch was given up).';

CREATE FUNCTION ledger.settle_key(in_organisation text, in_caller text, in_key text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Whoever holds the lock is still deciding; whoever takes it later finds the key settled.
    PERFORM pg_advisory_xact_lock(ledger.append_lock(in_organisation));
    INSERT INTO ledger.settled_keys (organisation, caller, key, settled_at)
    SELECT in_organisation, in_caller, in_key, clock_timestamp()
     WHERE NOT EXISTS (SELECT FROM ledger.outcomes o
                        WHERE o.organisation = in_organisation AND o.caller = in_caller AND o.key = in_key)
    ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION ledger.settle_key IS 'Forbids a key to its caller for ever, unless a call with it was written.';

CREATE OR REPLACE FUNCTION ledger.forget_answers(in_organisation text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM ledger.given_up
     WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '24 hours';
    DELETE FROM ledger.guesses
     WHERE organisation = in_organisation
       AND last_at < clock_timestamp() - CASE WHEN succeeded THEN interval '90 days' ELSE interval '24 hours' END;
    DELETE FROM ledger.outcomes
     WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '7 days';
    WITH forgotten AS (
        DELETE FROM ledger.answers
         WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '24 hours' RETURNING 1)
    SELECT count(*) FROM forgotten
$$;
COMMENT ON FUNCTION ledger.forget_answers IS 'Drops answers to idempotency keys, notes of given up commands and counted guesses that are older than 24 hours, outcomes of calls after 7 days, and the memory of sources that have succeeded after 90 days.';

REVOKE ALL ON FUNCTION ledger.settle_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.settle_key TO crmledger_service;
