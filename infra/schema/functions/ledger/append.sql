CREATE OR REPLACE FUNCTION ledger.append(
    in_organisation text, in_deadline timestamptz,
    in_metadata text[], in_effects text[], in_responses bytea[],
    event_command integer[], event_stream uuid[], event_version integer[], event_topic text[],
    event_schema smallint[], event_subject uuid[], event_payload text[],
    view_command integer[], view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS TABLE (command integer, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = views, pg_catalog, pg_temp AS $$
DECLARE
    effects  jsonb[] := in_effects::jsonb[];
    kinds    text[] := ARRAY(SELECT DISTINCT jsonb_object_keys(e) FROM unnest(effects) AS e);
    rejected integer[] := '{}';
    head     bigint;
    former   timestamptz;
    moment   timestamptz;
BEGIN
    -- Before any view is read: whoever holds appends up, to let views change places, must not meet
    -- one that has them.
    LOCK TABLE ledger.events IN ROW EXCLUSIVE MODE;
    PERFORM pg_advisory_xact_lock(ledger.append_lock(in_organisation));
    moment := clock_timestamp();
    -- A batch that lay on its way for long, or whose caller lost its connection and was told by
    -- ledger.resolve_commands that nothing was written, must not be written any more.
    IF moment > in_deadline OR ledger.is_abandoned(in_organisation, in_metadata) THEN
        RETURN QUERY SELECT n, 'LATE', '' FROM generate_series(1, cardinality(in_metadata)) AS n;
        RETURN;
    END IF;
    SELECT e.position, e.recorded_at INTO head, former
      FROM ledger.events e WHERE e.organisation = in_organisation ORDER BY e.position DESC LIMIT 1;
    head := coalesce(head, 0);
    moment := greatest(moment, former);

    FOR command, verdict, detail IN
        SELECT * FROM ledger.rejected_commands(in_organisation, effects, kinds, moment,
                                               event_command, event_stream, event_version)
    LOOP
        IF command <> ALL (rejected) THEN
            rejected := rejected || command;
            RETURN NEXT;
        END IF;
    END LOOP;

    IF cardinality(rejected) > 0 THEN
        -- What the rejected ones wanted is left out; the others keep their numbers.
        effects := ARRAY(SELECT CASE WHEN e.n = ANY (rejected) THEN '{}' ELSE e.effects END
                           FROM unnest(effects) WITH ORDINALITY AS e (effects, n) ORDER BY e.n);
        SELECT array_agg(f.command ORDER BY f.n), array_agg(f.stream ORDER BY f.n),
               array_agg(f.version ORDER BY f.n), array_agg(f.topic ORDER BY f.n),
               array_agg(f.schema ORDER BY f.n), array_agg(f.subject ORDER BY f.n),
               array_agg(f.payload ORDER BY f.n)
          INTO event_command, event_stream, event_version, event_topic,
               event_schema, event_subject, event_payload
          FROM unnest(event_command, event_stream, event_version, event_topic,
                      event_schema, event_subject, event_payload) WITH ORDINALITY
                   AS f (command, stream, version, topic, schema, subject, payload, n)
         WHERE f.command <> ALL (rejected);
        SELECT array_agg(w.name ORDER BY w.n), array_agg(w.stream ORDER BY w.n),
               array_agg(w.version ORDER BY w.n), array_agg(w.columns ORDER BY w.n),
               array_agg(w.document ORDER BY w.n), array_agg(w.refs ORDER BY w.n)
          INTO view_name, view_stream, view_version, view_columns, view_document, view_refs
          FROM unnest(view_command, view_name, view_stream, view_version,
                      view_columns, view_document, view_refs) WITH ORDINALITY
                   AS w (command, name, stream, version, columns, document, refs, n)
         WHERE w.command <> ALL (rejected);
    END IF;

    INSERT INTO ledger.events (organisation, position, stream_id, version, topic, schema_version,
           subject, payload, metadata, recorded_at, event_hash)
    SELECT in_organisation, f.position, f.stream, f.version, f.topic, f.schema, f.subject,
           f.payload::json, f.metadata::json, moment,
           ledger.event_hash(in_organisation, f.position, f.stream, f.version, f.topic, f.schema,
                             f.subject, f.payload, f.metadata, moment)
      FROM (SELECT head + u.n AS position, u.*, in_metadata[u.command] AS metadata
              FROM unnest(event_command, event_stream, event_version, event_topic,
                          event_schema, event_subject, event_payload) WITH ORDINALITY
                       AS u (command, stream, version, topic, schema, subject, payload, n)) AS f;

    -- What is only asked about, or written below, is nothing to it.
    IF NOT kinds <@ '{key,caller,request_hash,expect,expect_tokens,expect_keys,limit_tokens}' THEN
        PERFORM ledger.write_side_effects(in_organisation,
                                          array_agg(e.effects ORDER BY e.n), moment)
           FROM unnest(effects) WITH ORDINALITY AS e (effects, n) WHERE e.effects <> '{}';
    END IF;
    IF 'key' = ANY (kinds) THEN
        INSERT INTO ledger.stored_responses
               (organisation, key, command, request_hash, response, recorded_at)
        SELECT in_organisation, e.effects ->> 'key', in_metadata[e.n]::json ->> 'command',
               e.effects ->> 'request_hash', in_responses[e.n], moment
          FROM unnest(effects) WITH ORDINALITY AS e (effects, n)
         WHERE e.effects ? 'key'
        ON CONFLICT (organisation, key) DO UPDATE
           SET command = excluded.command, request_hash = excluded.request_hash,
               response = excluded.response, recorded_at = excluded.recorded_at;
    END IF;
    IF 'caller' = ANY (kinds) THEN
        -- Events stand in the order of their commands: so many come up to the last of a command.
        INSERT INTO ledger.request_outcomes
               (organisation, caller, key, command, position, recorded_at)
        SELECT in_organisation, e.effects ->> 'caller', e.effects ->> 'key',
               in_metadata[e.n]::json ->> 'command', e.position, moment
          FROM (SELECT u.n, u.effects,
                       head + (sum(coalesce(f.events, 0)) OVER (ORDER BY u.n))::bigint AS position
                  FROM unnest(effects) WITH ORDINALITY AS u (effects, n)
                  LEFT JOIN (SELECT w.command, count(*) AS events
                               FROM unnest(event_command) AS w (command)
                              GROUP BY 1) AS f ON f.command = u.n) AS e
         WHERE e.effects ? 'caller'
        ON CONFLICT (organisation, caller, key) DO UPDATE
           SET command = excluded.command, position = excluded.position,
               recorded_at = excluded.recorded_at;
    END IF;

    PERFORM ledger.write_views(in_organisation, view_name, view_stream, view_version, view_columns,
                               view_document, view_refs);
END $$;

COMMENT ON FUNCTION ledger.append IS
    'Writes a batch of commands of one organisation: each wholly or not at all, the events at '
    'dense positions. Returns the commands that were not written: REPEATED (the idempotency key '
    'is known), SETTLED (it was said of the key that nothing will be written with it), CONFLICT '
    '(another event came first), CLAIMED (a uniqueness claim is taken; detail names the '
    'parameter), LIMITED (what is limited is used up), LATE (all of them: the deadline had '
    'passed, or the batch was abandoned).';
REVOKE ALL ON FUNCTION ledger.append FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.append TO crmledger_service;
