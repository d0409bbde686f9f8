-- An append does only what its batch needs: what no command of it has is neither asked about nor written.

-- Events of more than 2 kB stay in their row: nearly all of one is encrypted, and does not shrink.
ALTER TABLE ledger.events SET (toast_tuple_target = 8160);

CREATE FUNCTION ledger.tokens_of(in_organisation text, in_column text, in_id text) RETURNS bigint
LANGUAGE sql STABLE AS $$
    SELECT CASE in_column
           WHEN 'accounts_receivable' THEN
               (SELECT count(*) FROM views.access_tokens v
                 WHERE v.organisation = in_organisation AND v.accounts_receivable = in_id)
           ELSE (SELECT count(*) FROM views.access_tokens v
                  WHERE v.organisation = in_organisation AND v.rewards_participant = in_id) END
$$;
COMMENT ON FUNCTION ledger.tokens_of IS 'How many access tokens an account or rewards participant has; in_column says which of the two it is.';

DROP FUNCTION ledger.losers;
CREATE FUNCTION ledger.losers(
    in_organisation text, in_effects jsonb[], in_kinds text[], in_moment timestamptz,
    event_command integer[], event_stream uuid[], event_version integer[]
) RETURNS TABLE (command integer, verdict text, detail text) LANGUAGE plpgsql STABLE AS $$
-- A question is asked only where a command wants it: one statement for all of them costs its preparation every time.
BEGIN
    IF 'key' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'REPEATED', ''
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               LATERAL (SELECT a.recorded_at FROM ledger.answers a
                         WHERE a.organisation = in_organisation AND a.key = e.effects ->> 'key' LIMIT 1) AS a
         WHERE a.recorded_at > in_moment - interval '24 hours';
        RETURN QUERY
        SELECT e.n::integer, 'SETTLED', 'Idempotency-Key'
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               LATERAL (SELECT FROM ledger.settled_keys s
                         WHERE s.organisation = in_organisation AND s.caller = e.effects ->> 'caller'
                           AND s.key = e.effects ->> 'key' LIMIT 1) AS s;
    END IF;
    RETURN QUERY
    SELECT f.command, 'CONFLICT', f.stream::text
      FROM (SELECT u.command, u.stream, min(u.version) AS first
              FROM unnest(event_command, event_stream, event_version) AS u (command, stream, version)
             GROUP BY u.command, u.stream) AS f
     WHERE f.first - 1 <> coalesce((SELECT max(e.version) FROM ledger.events e
                                     WHERE e.organisation = in_organisation AND e.stream_id = f.stream), 0);
    IF 'expect' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CONFLICT', t.stream::text
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'expect') AS t (stream uuid, version integer)
         WHERE t.version <> coalesce((SELECT max(v.version) FROM ledger.events v
                                       WHERE v.organisation = in_organisation AND v.stream_id = t.stream), 0);
    END IF;
    IF 'expect_tokens' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CONFLICT', t.column
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'expect_tokens') AS t ("column" text, id text, count integer)
         WHERE t.count <> ledger.tokens_of(in_organisation, t.column, t.id);
    END IF;
    IF 'expect_keys' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT t.n::integer, 'CONFLICT', t.subject
          FROM (SELECT e.n, jsonb_array_elements_text(e.effects -> 'expect_keys') AS subject
                  FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n)) AS t
         -- A subquery of one row: NOT EXISTS may be planned as a join with all keys of the organisation.
         WHERE (SELECT true FROM ledger.personal_keys k
                 WHERE k.organisation = in_organisation AND k.subject = t.subject::uuid) IS NULL;
    END IF;
    IF 'forget' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CONFLICT', t.subject::text
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'forget') AS t (subject uuid, streams integer)
         WHERE t.streams <> cardinality(ledger.streams_of(in_organisation, t.subject));
    END IF;
    IF 'limit_tokens' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'LIMITED', t.column || '_identifier'
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'limit_tokens') AS t ("column" text, id text, most integer)
         WHERE t.most <= ledger.tokens_of(in_organisation, t.column, t.id);
    END IF;
    IF 'secrets' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CLAIMED', t.name
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'secrets')
                   AS t (owner text, name text, verifier text, expires_at timestamptz),
               LATERAL (SELECT FROM ledger.secrets s
                         WHERE s.organisation = in_organisation AND s.name = t.name AND s.verifier = t.verifier
                           AND s.expires_at > in_moment AND s.owner <> t.owner LIMIT 1) AS s
         WHERE t.expires_at IS NOT NULL;
    END IF;
    IF 'take' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CLAIMED', t.at
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'take') AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.claims c
                         WHERE c.organisation = in_organisation AND c.claim = t.claim AND c.stream_id <> t.stream
                         LIMIT 1) AS c;
    END IF;
    IF 'take_worldwide' = ANY (in_kinds) THEN
        RETURN QUERY
        SELECT e.n::integer, 'CLAIMED', t.at
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'take_worldwide') AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.world_claims c
                         WHERE c.claim = t.claim AND (c.organisation <> in_organisation OR c.stream_id <> t.stream)
                         LIMIT 1) AS c;
    END IF;
END $$;
COMMENT ON FUNCTION ledger.losers IS 'The commands of a batch that must not be written, each with its reasons; the first one counts. in_kinds are the kinds of effects that the batch has.';

-- Called within ledger.append only, whose search path is as safe.
ALTER FUNCTION ledger.is_given_up RESET search_path;

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
    effects jsonb[] := in_effects::jsonb[];
    kinds   text[] := ARRAY(SELECT DISTINCT jsonb_object_keys(e) FROM unnest(effects) AS e);
    lost    integer[] := '{}';
    head    bigint;
    former  timestamptz;
    moment  timestamptz;
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
    SELECT e.position, e.recorded_at INTO head, former
      FROM ledger.events e WHERE e.organisation = in_organisation ORDER BY e.position DESC LIMIT 1;
    head := coalesce(head, 0);
    moment := greatest(moment, former);

    FOR command, verdict, detail IN
        SELECT * FROM ledger.losers(in_organisation, effects, kinds, moment, event_command, event_stream, event_version)
    LOOP
        IF command <> ALL (lost) THEN
            lost := lost || command;
            RETURN NEXT;
        END IF;
    END LOOP;

    IF cardinality(lost) > 0 THEN
        -- What the losers wanted is left out; the others keep their numbers.
        effects := ARRAY(SELECT CASE WHEN e.n = ANY (lost) THEN '{}' ELSE e.effects END
                           FROM unnest(effects) WITH ORDINALITY AS e (effects, n) ORDER BY e.n);
        SELECT array_agg(f.command ORDER BY f.n), array_agg(f.stream ORDER BY f.n), array_agg(f.version ORDER BY f.n),
               array_agg(f.topic ORDER BY f.n), array_agg(f.schema ORDER BY f.n), array_agg(f.subject ORDER BY f.n),
               array_agg(f.payload ORDER BY f.n)
          INTO event_command, event_stream, event_version, event_topic, event_schema, event_subject, event_payload
          FROM unnest(event_command, event_stream, event_version, event_topic, event_schema, event_subject, event_payload)
                   WITH ORDINALITY AS f (command, stream, version, topic, schema, subject, payload, n)
         WHERE f.command <> ALL (lost);
        SELECT array_agg(w.name ORDER BY w.n), array_agg(w.stream ORDER BY w.n), array_agg(w.version ORDER BY w.n),
               array_agg(w.columns ORDER BY w.n), array_agg(w.document ORDER BY w.n), array_agg(w.refs ORDER BY w.n)
          INTO view_name, view_stream, view_version, view_columns, view_document, view_refs
          FROM unnest(view_command, view_name, view_stream, view_version, view_columns, view_document, view_refs)
                   WITH ORDINALITY AS w (command, name, stream, version, columns, document, refs, n)
         WHERE w.command <> ALL (lost);
    END IF;

    INSERT INTO ledger.events (organisation, position, stream_id, version, topic, schema_version, subject, payload,
           metadata, recorded_at, event_hash)
    SELECT in_organisation, f.position, f.stream, f.version, f.topic, f.schema, f.subject, f.payload::json,
           f.metadata::json, moment,
           ledger.event_hash(in_organisation, f.position, f.stream, f.version, f.topic, f.schema, f.subject,
                             f.payload, f.metadata, moment)
      FROM (SELECT head + u.n AS position, u.*, in_metadata[u.command] AS metadata
              FROM unnest(event_command, event_stream, event_version, event_topic, event_schema, event_subject, event_payload)
                       WITH ORDINALITY AS u (command, stream, version, topic, schema, subject, payload, n)) AS f;

    -- What is only asked about, or written below, is nothing to it.
    IF NOT kinds <@ '{key,caller,request_hash,expect,expect_tokens,expect_keys,limit_tokens}' THEN
        PERFORM ledger.write_effects(in_organisation, array_agg(e.effects ORDER BY e.n), moment)
           FROM unnest(effects) WITH ORDINALITY AS e (effects, n) WHERE e.effects <> '{}';
    END IF;
    IF 'key' = ANY (kinds) THEN
        INSERT INTO ledger.answers (organisation, key, command, request_hash, answer, recorded_at)
        SELECT in_organisation, e.effects ->> 'key', in_metadata[e.n]::json ->> 'command',
               e.effects ->> 'request_hash', in_answers[e.n], moment
          FROM unnest(effects) WITH ORDINALITY AS e (effects, n)
         WHERE e.effects ? 'key'
        ON CONFLICT (organisation, key) DO UPDATE
           SET command = excluded.command, request_hash = excluded.request_hash, answer = excluded.answer, recorded_at = excluded.recorded_at;
    END IF;
    IF 'caller' = ANY (kinds) THEN
        -- Events stand in the order of their commands: so many come up to the last one of a command.
        INSERT INTO ledger.outcomes (organisation, caller, key, command, position, recorded_at)
        SELECT in_organisation, e.effects ->> 'caller', e.effects ->> 'key', in_metadata[e.n]::json ->> 'command',
               e.position, moment
          FROM (SELECT u.n, u.effects, head + (sum(coalesce(f.events, 0)) OVER (ORDER BY u.n))::bigint AS position
                  FROM unnest(effects) WITH ORDINALITY AS u (effects, n)
                  LEFT JOIN (SELECT w.command, count(*) AS events FROM unnest(event_command) AS w (command) GROUP BY 1) AS f ON f.command = u.n) AS e
         WHERE e.effects ? 'caller'
        ON CONFLICT (organisation, caller, key) DO UPDATE
           SET command = excluded.command, position = excluded.position, recorded_at = excluded.recorded_at;
    END IF;

    PERFORM ledger.write_views(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
END $$;

CREATE OR REPLACE FUNCTION ledger.write_entities(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    parsed jsonb[] := view_columns::jsonb[];
    former record;
BEGIN
    INSERT INTO entities (organisation, ref, stream_id, retired, document, refs, owners)
    SELECT in_organisation, (w.columns ->> 'kind') || '/' || (w.columns ->> 'id'), w.stream,
           coalesce((w.columns ->> 'retired')::boolean, false), w.document::json, string_to_array(w.refs, ' '),
           ARRAY(SELECT jsonb_array_elements_text(nullif(w.columns -> 'owners', 'null')))
      FROM unnest(view_name, view_stream, parsed, view_document, view_refs)
               AS w (name, stream, columns, document, refs)
     WHERE w.name = 'entities'
    ON CONFLICT (organisation, ref) DO UPDATE
       SET retired = excluded.retired, document = excluded.document, refs = excluded.refs,
           owners = excluded.owners;
    -- One by one, of those that have any: joined, they may be planned as a scan of all names.
    FOR former IN
        SELECT w.columns ->> 'kind' AS kind, w.columns ->> 'id' AS id
          FROM unnest(view_name, parsed) AS w (name, columns),
               LATERAL (SELECT FROM names n
                         WHERE n.organisation = in_organisation AND n.kind = w.columns ->> 'kind'
                           AND n.id = w.columns ->> 'id' LIMIT 1) AS n
         WHERE w.name = 'entities' AND w.columns ->> 'names' IS NOT NULL
    LOOP
        DELETE FROM names n WHERE n.organisation = in_organisation AND n.kind = former.kind AND n.id = former.id;
    END LOOP;
    INSERT INTO names (organisation, kind, field, value, id, retired)
    SELECT in_organisation, w.columns ->> 'kind', n.field, n.value, w.columns ->> 'id',
           coalesce((w.columns ->> 'retired')::boolean, false)
      FROM unnest(view_name, parsed) AS w (name, columns),
           jsonb_each_text(nullif(w.columns -> 'names', 'null')) AS n (field, value)
     WHERE w.name = 'entities';
END $$;

REVOKE ALL ON FUNCTION ledger.tokens_of, ledger.losers FROM PUBLIC;
