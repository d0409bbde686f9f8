CREATE OR REPLACE FUNCTION ledger.append(
    in_organisation text, in_deadline timestamptz,
    in_commands ledger.command[], in_events ledger.new_event[], in_rows ledger.view_row[]
) RETURNS TABLE (command integer, verdict text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = views, pg_catalog, pg_temp AS $$
DECLARE
    effects  jsonb[] := ARRAY(SELECT c.effects::jsonb FROM unnest(in_commands) AS c);
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
    IF moment > in_deadline OR ledger.is_abandoned(in_organisation, in_commands) THEN
        RETURN QUERY SELECT n, 'LATE', '' FROM generate_series(1, cardinality(in_commands)) AS n;
        RETURN;
    END IF;
    SELECT e.position, e.recorded_at INTO head, former
      FROM ledger.events e WHERE e.organisation = in_organisation ORDER BY e.position DESC LIMIT 1;
    head := coalesce(head, 0);
    moment := greatest(moment, former);

    FOR command, verdict, detail IN
        SELECT * FROM ledger.rejected_commands(in_organisation, effects, kinds, moment, in_events)
    LOOP
        IF command <> ALL (rejected) THEN
            rejected := rejected || command;
            RETURN NEXT;
        END IF;
    END LOOP;

    IF cardinality(rejected) > 0 THEN
        -- The rejected commands have no effects; the others keep their numbers.
        effects := ARRAY(SELECT CASE WHEN e.n = ANY (rejected) THEN '{}' ELSE e.effects END
                           FROM unnest(effects) WITH ORDINALITY AS e (effects, n) ORDER BY e.n);
        in_events := ARRAY(SELECT e FROM unnest(in_events) AS e WHERE e.command <> ALL (rejected));
        in_rows := ARRAY(SELECT r FROM unnest(in_rows) AS r WHERE r.command <> ALL (rejected));
    END IF;

    INSERT INTO ledger.events (organisation, position, stream_id, version, topic, schema_version,
           subject, payload, metadata, recorded_at, event_hash, mac)
    SELECT in_organisation, f.position, f.stream, f.version, f.topic, f.schema, f.subject,
           f.payload::json, f.metadata::json, moment,
           ledger.event_hash(in_organisation, f.position, f.stream, f.version, f.topic, f.schema,
                             f.subject, f.payload, f.metadata, moment), f.mac
      FROM (SELECT head + u.n AS position, u.*, c.metadata
              FROM unnest(in_events) WITH ORDINALITY
                       AS u (command, stream, version, topic, schema, subject, payload, mac, n)
              LEFT JOIN unnest(in_commands) WITH ORDINALITY AS c (metadata, effects, response, n)
                ON c.n = u.command) AS f;

    -- It has nothing to do with effects that are only compared, or are written below.
    IF NOT kinds <@ '{key,caller,request_hash,expect,expect_tokens,expect_keys,limit_tokens}' THEN
        PERFORM ledger.write_side_effects(in_organisation,
                                          array_agg(e.effects ORDER BY e.n), moment)
           FROM unnest(effects) WITH ORDINALITY AS e (effects, n) WHERE e.effects <> '{}';
    END IF;
    IF 'key' = ANY (kinds) THEN
        INSERT INTO ledger.stored_responses
               (organisation, key, caller, command, request_hash, response, recorded_at)
        SELECT in_organisation, e.effects ->> 'key', e.effects ->> 'caller',
               e.metadata::json ->> 'command', e.effects ->> 'request_hash', e.response, moment
          FROM unnest(in_commands, effects) AS e (metadata, sent, response, effects)
         WHERE e.effects ? 'key'
        ON CONFLICT (organisation, key, caller) DO UPDATE
           SET command = excluded.command, request_hash = excluded.request_hash,
               response = excluded.response, recorded_at = excluded.recorded_at;
    END IF;
    IF 'caller' = ANY (kinds) THEN
        -- Events are in the order of their commands: their running total leads to a command's last.
        INSERT INTO ledger.request_outcomes
               (organisation, caller, key, command, position, recorded_at)
        SELECT in_organisation, e.effects ->> 'caller', e.effects ->> 'key',
               e.metadata::json ->> 'command', e.position, moment
          FROM (SELECT u.metadata, u.effects,
                       head + (sum(coalesce(f.events, 0)) OVER (ORDER BY u.n))::bigint AS position
                  FROM unnest(in_commands, effects) WITH ORDINALITY
                           AS u (metadata, sent, response, effects, n)
                  LEFT JOIN (SELECT w.command, count(*) AS events
                               FROM unnest(in_events) AS w
                              GROUP BY w.command) AS f ON f.command = u.n) AS e
         WHERE e.effects ? 'caller'
        ON CONFLICT (organisation, caller, key) DO UPDATE
           SET command = excluded.command, position = excluded.position,
               recorded_at = excluded.recorded_at;
    END IF;

    PERFORM ledger.write_views(in_organisation, in_rows);
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
