-- The one way into the ledger.

CREATE FUNCTION ledger.append_lock(in_organisation text) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    $$ SELECT hashtextextended('crmledger.append/' || in_organisation, 0) $$;
COMMENT ON FUNCTION ledger.append_lock IS 'The advisory lock that orders the appends of one organisation.';

CREATE FUNCTION ledger.write_views(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
-- Table names are not qualified: append writes the live views, a rebuild those beside them.
-- Rows of others are looked up one by one, by their key (LATERAL with a limit, or a subquery): a join may be
-- planned as a scan of all that the organisation has.
BEGIN
    IF 'entities' = ANY (view_name) THEN
        INSERT INTO entities (organisation, ref, stream_id, retired, document, refs)
        SELECT in_organisation, r.kind || '/' || r.id, w.stream, coalesce(r.retired, false),
               w.document::json, string_to_array(w.refs, ' ')
          FROM unnest(view_name, view_stream, view_columns, view_document, view_refs)
                   AS w (name, stream, columns, document, refs),
               json_to_record(w.columns::json) AS r (kind text, id text, retired boolean)
         WHERE w.name = 'entities'
        ON CONFLICT (organisation, ref) DO UPDATE
           SET retired = excluded.retired, document = excluded.document, refs = excluded.refs;
        DELETE FROM names WHERE organisation = in_organisation AND ctid = ANY (ARRAY(
            SELECT n.ctid
              FROM unnest(view_name, view_columns) AS w (name, columns),
                   json_to_record(w.columns::json) AS r (kind text, id text, names json),
                   LATERAL (SELECT n.ctid FROM names n
                             WHERE n.organisation = in_organisation AND n.kind = r.kind AND n.id = r.id LIMIT 100) AS n
             WHERE w.name = 'entities' AND r.names IS NOT NULL));
        INSERT INTO names (organisation, kind, field, value, id, retired)
        SELECT in_organisation, r.kind, n.field, n.value, r.id, coalesce(r.retired, false)
          FROM unnest(view_name, view_columns) AS w (name, columns),
               json_to_record(w.columns::json) AS r (kind text, id text, retired boolean, names json),
               json_each_text(r.names) AS n (field, value)
         WHERE w.name = 'entities' AND r.names IS NOT NULL;
    END IF;
    IF 'records' = ANY (view_name) THEN
        INSERT INTO records (organisation, kind, id, created, changed, version, directory, retired, document)
        SELECT in_organisation, r.kind, r.id,
               (SELECT e.position FROM ledger.events e
                 WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
               (SELECT e.position FROM ledger.events e
                 WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = w.version),
               w.version, r.directory, r.retired,
               w.document::json
          FROM unnest(view_name, view_stream, view_version, view_columns, view_document)
                   AS w (name, stream, version, columns, document),
               json_to_record(w.columns::json) AS r (kind text, id text, directory boolean, retired boolean)
         WHERE w.name = 'records'
        ON CONFLICT (organisation, kind, id) DO UPDATE
           SET changed = excluded.changed, version = excluded.version, retired = excluded.retired,
               document = excluded.document;
    END IF;
    IF 'sessions' = ANY (view_name) THEN
        INSERT INTO sessions (organisation, id, created, version, user_id, unit_id, expires_at, released)
        SELECT in_organisation, r.id,
               (SELECT e.position FROM ledger.events e
                 WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
               w.version, r.user_id, r.unit_id, r.expires_at, r.released
          FROM unnest(view_name, view_stream, view_version, view_columns) AS w (name, stream, version, columns),
               json_to_record(w.columns::json)
                   AS r (id text, user_id text, unit_id text, expires_at bigint, released boolean)
         WHERE w.name = 'sessions'
        ON CONFLICT (organisation, id) DO UPDATE
           SET version = excluded.version, released = excluded.released;
    END IF;
    IF 'contacts' = ANY (view_name) THEN
        INSERT INTO contacts (organisation, id, created, version, document, refs, type, life_cycle_state, id_number,
               passport_number, social_security_number, vat_registration_number, emails, phones, photo, identity)
        SELECT in_organisation, r.id,
               (SELECT e.position FROM ledger.events e
                 WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
               w.version, w.document::json, string_to_array(w.refs, ' '),
               r.type, r.life_cycle_state, r.id_number, r.passport_number, r.social_security_number,
               r.vat_registration_number, r.emails, r.phones, r.photo, r.identity
          FROM unnest(view_name, view_stream, view_version, view_columns, view_document, view_refs)
                   AS w (name, stream, version, columns, document, refs),
               json_to_record(w.columns::json) AS r (id text, type text, life_cycle_state text, id_number text,
                   passport_number text, social_security_number text, vat_registration_number text,
                   emails text[], phones text[], photo text, identity json)
         WHERE w.name = 'contacts'
        ON CONFLICT (organisation, id) DO UPDATE
           SET version = excluded.version, document = excluded.document, refs = excluded.refs,
               life_cycle_state = excluded.life_cycle_state, id_number = excluded.id_number,
               passport_number = excluded.passport_number,
               social_security_number = excluded.social_security_number,
               vat_registration_number = excluded.vat_registration_number, emails = excluded.emails,
               phones = excluded.phones, photo = excluded.photo, identity = excluded.identity;
    END IF;
    IF 'communications' = ANY (view_name) THEN
        INSERT INTO communications (organisation, id, created, version, document, refs, code, contact_information,
               category, direction, media, life_cycle_state)
        SELECT in_organisation, r.id,
               (SELECT e.position FROM ledger.events e
                 WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
               w.version, w.document::json, string_to_array(w.refs, ' '),
               r.code, r.contact_information, r.category, r.direction, r.media, r.life_cycle_state
          FROM unnest(view_name, view_stream, view_version, view_columns, view_document, view_refs)
                   AS w (name, stream, version, columns, document, refs),
               json_to_record(w.columns::json) AS r (id text, code text, contact_information text, category text,
                   direction text, media text, life_cycle_state text)
         WHERE w.name = 'communications'
        ON CONFLICT (organisation, id) DO UPDATE
           SET version = excluded.version, document = excluded.document, refs = excluded.refs,
               category = excluded.category, direction = excluded.direction, media = excluded.media,
               life_cycle_state = excluded.life_cycle_state;
    END IF;
    IF 'queue_entries' = ANY (view_name) THEN
        INSERT INTO queue_entries (organisation, id, created, version, document, refs, communication,
               contact_information, media, external_system, life_cycle_state)
        SELECT in_organisation, r.id,
               (SELECT e.position FROM ledger.events e
                 WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
               w.version, w.document::json, string_to_array(w.refs, ' '),
               r.communication, r.contact_information, r.media, r.external_system, r.life_cycle_state
          FROM unnest(view_name, view_stream, view_version, view_columns, view_document, view_refs)
                   AS w (name, stream, version, columns, document, refs),
               json_to_record(w.columns::json) AS r (id text, communication text, contact_information text,
                   media text, external_system text, life_cycle_state text)
         WHERE w.name = 'queue_entries'
        ON CONFLICT (organisation, id) DO UPDATE
           SET version = excluded.version, document = excluded.document, refs = excluded.refs,
               life_cycle_state = excluded.life_cycle_state;
    END IF;
END $$;
COMMENT ON FUNCTION ledger.write_views IS 'Writes rows of the views in the search path: one element per row in each array.';

CREATE FUNCTION ledger.losers(
    in_organisation text, in_effects jsonb[], in_moment timestamptz,
    event_command integer[], event_stream uuid[], event_version integer[]
) RETURNS TABLE (command integer, verdict text, detail text) LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (refused.command) refused.command::integer, refused.verdict, refused.detail
      FROM (
        SELECT e.n AS command, 1 AS rank, 'REPEATED' AS verdict, '' AS detail
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               LATERAL (SELECT a.recorded_at FROM ledger.answers a
                         WHERE a.organisation = in_organisation AND a.key = e.effects ->> 'key' LIMIT 1) AS a
         WHERE a.recorded_at > in_moment - interval '24 hours'
        UNION ALL
        SELECT f.command, 2, 'CONFLICT', f.stream::text
          FROM (SELECT u.command, u.stream, min(u.version) AS first
                  FROM unnest(event_command, event_stream, event_version) AS u (command, stream, version)
                 GROUP BY u.command, u.stream) AS f
         WHERE f.first - 1 <> coalesce((SELECT max(e.version) FROM ledger.events e
                                         WHERE e.organisation = in_organisation AND e.stream_id = f.stream), 0)
        UNION ALL
        SELECT e.n, 2, 'CONFLICT', t.stream::text
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'expect') AS t (stream uuid, version integer)
         WHERE t.version <> coalesce((SELECT max(v.version) FROM ledger.events v
                                       WHERE v.organisation = in_organisation AND v.stream_id = t.stream), 0)
        UNION ALL
        SELECT e.n, 3, 'CLAIMED', t.at
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'take') AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.claims c
                         WHERE c.organisation = in_organisation AND c.claim = t.claim AND c.stream_id <> t.stream
                         LIMIT 1) AS c
        UNION ALL
        SELECT e.n, 3, 'CLAIMED', t.at
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'take_worldwide') AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.world_claims c
                         WHERE c.claim = t.claim AND (c.organisation <> in_organisation OR c.stream_id <> t.stream)
                         LIMIT 1) AS c
      ) AS refused
     ORDER BY refused.command, refused.rank
$$;
COMMENT ON FUNCTION ledger.losers IS 'The commands of a batch that must not be written, each with one reason.';

CREATE FUNCTION ledger.reclaim(in_organisation text, in_type text, in_rule text[]) RETURNS void LANGUAGE sql AS $$
    DELETE FROM ledger.claims
     WHERE organisation = in_organisation AND starts_with(claim, 'contact_information:' || in_type || E'\x1e');
    -- Contacts that are equal by the new rule stay, and keep others out as long as one of them is left.
    INSERT INTO ledger.claims (organisation, claim, stream_id)
    SELECT in_organisation,
           'contact_information:' || in_type || E'\x1e'
               || encode(sha256(convert_to(array_to_string(in_rule || i.values, E'\x1e'), 'UTF8')), 'hex'),
           c.id::uuid
      FROM views.contacts c,
           LATERAL (SELECT array_agg(c.identity ->> r.field ORDER BY r.n) AS values
                      FROM unnest(in_rule) WITH ORDINALITY AS r (field, n)) AS i
     WHERE c.organisation = in_organisation AND c.type = in_type
       AND cardinality(in_rule) > 0 AND array_position(i.values, NULL::text) IS NULL
$$;
COMMENT ON FUNCTION ledger.reclaim IS 'Claims the uniqueness of all contacts of a type anew, when an organisation changes its rule (in_rule in alphabetical order).';

CREATE FUNCTION ledger.write_effects(in_organisation text, in_effects jsonb[], in_moment timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
-- What a command changes beside events and views. Winners only; the views are as they were before.
BEGIN
    DELETE FROM ledger.claims c
     USING unnest(in_effects) AS e (effects), jsonb_to_recordset(e.effects -> 'release') AS t (claim text, stream uuid)
     WHERE c.organisation = in_organisation AND c.claim = t.claim AND c.stream_id = t.stream;
    PERFORM ledger.reclaim(in_organisation, t.type, t.rule)
       FROM unnest(in_effects) AS e (effects), jsonb_to_recordset(e.effects -> 'reclaim') AS t (type text, rule text[]);
    INSERT INTO ledger.claims (organisation, claim, stream_id)
    SELECT in_organisation, t.claim, t.stream
      FROM unnest(in_effects) AS e (effects), jsonb_to_recordset(e.effects -> 'take') AS t (claim text, stream uuid);
    DELETE FROM ledger.world_claims c
     USING unnest(in_effects) AS e (effects),
           jsonb_to_recordset(e.effects -> 'release_worldwide') AS t (claim text, stream uuid)
     WHERE c.organisation = in_organisation AND c.claim = t.claim AND c.stream_id = t.stream;
    INSERT INTO ledger.world_claims (claim, organisation, stream_id, entity)
    SELECT t.claim, in_organisation, t.stream, t.entity
      FROM unnest(in_effects) AS e (effects),
           jsonb_to_recordset(e.effects -> 'take_worldwide') AS t (claim text, stream uuid, entity text);
    DELETE FROM ledger.secrets s
     USING unnest(in_effects) AS e (effects), jsonb_to_recordset(e.effects -> 'secrets') AS t (owner text, name text)
     WHERE s.organisation = in_organisation AND s.owner = t.owner AND s.name = t.name;
    INSERT INTO ledger.secrets (organisation, key_id, owner, name, verifier)
    SELECT in_organisation, t.key_id, t.owner, t.name, t.verifier
      FROM unnest(in_effects) AS e (effects),
           jsonb_to_recordset(e.effects -> 'secrets') AS t (key_id text, owner text, name text, verifier text);
    INSERT INTO ledger.personal_keys (organisation, subject, wrapped)
    SELECT in_organisation, t.subject, decode(t.wrapped, 'base64')
      FROM unnest(in_effects) AS e (effects),
           jsonb_to_recordset(e.effects -> 'personal_keys') AS t (subject uuid, wrapped text);
    DELETE FROM ledger.photos p
     USING unnest(in_effects) AS e (effects)
     WHERE p.organisation = in_organisation AND p.contact = e.effects ->> 'drop_photo_of';
    INSERT INTO ledger.photos (organisation, id, contact, file_name, mime_type, content)
    SELECT in_organisation, t.id, t.contact, t.file_name, t.mime_type, decode(t.content, 'base64')
      FROM unnest(in_effects) AS e (effects),
           jsonb_to_recordset(e.effects -> 'photos')
               AS t (id text, contact text, file_name text, mime_type text, content text);
END $$;
COMMENT ON FUNCTION ledger.write_effects IS 'Claims, secrets, keys and photos of the commands that are written.';

CREATE FUNCTION ledger.is_given_up(in_organisation text, in_metadata text[]) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Nearly always there is none, and nothing needs to be parsed.
    IF NOT EXISTS (SELECT FROM ledger.given_up WHERE organisation = in_organisation) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM unnest(in_metadata) AS m (metadata)
                     JOIN ledger.given_up g
                       ON g.organisation = in_organisation AND g.command = m.metadata::json ->> 'command');
END $$;
COMMENT ON FUNCTION ledger.is_given_up IS 'Whether a batch, known by the metadata of its commands, was given up by ledger.settle.';

CREATE FUNCTION ledger.append(
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

    PERFORM ledger.write_views(in_organisation, array_agg(w.name ORDER BY w.n), array_agg(w.stream ORDER BY w.n),
                               array_agg(w.version ORDER BY w.n), array_agg(w.columns ORDER BY w.n),
                               array_agg(w.document ORDER BY w.n), array_agg(w.refs ORDER BY w.n))
       FROM unnest(view_command, view_name, view_stream, view_version, view_columns, view_document, view_refs)
                WITH ORDINALITY AS w (command, name, stream, version, columns, document, refs, n)
      WHERE w.command <> ALL (lost);

    RETURN QUERY SELECT * FROM unnest(lost, verdicts, details);
END $$;
COMMENT ON FUNCTION ledger.append IS
    'Writes a batch of commands of one organisation: each wholly or not at all, the events at dense positions. Returns the commands that were not written: REPEATED (the idempotency key is known), CONFLICT (another event came first), CLAIMED (a uniqueness claim is taken; detail names the parameter), LATE (all of them: the deadline had passed, or the batch was given up).';

CREATE FUNCTION ledger.settle(
    in_organisation text, in_commands text[], in_streams uuid[], in_versions integer[], in_keys text[]
) RETURNS boolean[] LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written boolean[];
BEGIN
    -- Whoever holds the lock is still deciding; whoever takes it later finds the commands given up.
    PERFORM pg_advisory_xact_lock(ledger.append_lock(in_organisation));
    SELECT array_agg(
               CASE WHEN c.stream IS NULL
                    THEN EXISTS (SELECT FROM ledger.answers a
                                  WHERE a.organisation = in_organisation AND a.key = c.key AND a.command = c.command)
                    ELSE EXISTS (SELECT FROM ledger.events e
                                  WHERE e.organisation = in_organisation AND e.stream_id = c.stream
                                    AND e.version = c.version AND e.metadata ->> 'command' = c.command)
               END ORDER BY c.n)
      INTO written
      FROM unnest(in_commands, in_streams, in_versions, in_keys)
               WITH ORDINALITY AS c (command, stream, version, key, n);
    INSERT INTO ledger.given_up (organisation, command, recorded_at)
    SELECT in_organisation, c.command, clock_timestamp()
      FROM unnest(in_commands, written) AS c (command, written) WHERE NOT c.written
    ON CONFLICT DO NOTHING;
    RETURN written;
END $$;
COMMENT ON FUNCTION ledger.settle IS
    'Which commands whose answer was lost have been written, one for each; the others never will be. A command is found by one of its events (stream and version), or by its idempotency key if it has none.';

CREATE FUNCTION ledger.take_numbers(in_organisation text, in_names text[], in_counts integer[])
RETURNS TABLE (name text, last bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- Must be durable before a number is used: after a crash of the server it would be given out again.
    RETURN QUERY
        INSERT INTO ledger.sequences AS s (organisation, name, value)
        SELECT in_organisation, t.name, t.count FROM unnest(in_names, in_counts) AS t (name, count) ORDER BY t.name
        ON CONFLICT ON CONSTRAINT sequences_pkey DO UPDATE SET value = s.value + excluded.value
        RETURNING s.name, s.value;
END $$;
COMMENT ON FUNCTION ledger.take_numbers IS 'Gives out so many numbers of each sequence; returns the last one of each.';

CREATE FUNCTION ledger.forget_answers(in_organisation text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM ledger.given_up
     WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '24 hours';
    WITH forgotten AS (
        DELETE FROM ledger.answers
         WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '24 hours' RETURNING 1)
    SELECT count(*) FROM forgotten
$$;
COMMENT ON FUNCTION ledger.forget_answers IS 'Drops answers to idempotency keys, and notes of given up commands, that are older than 24 hours.';

-- The service reads, and writes through these functions only.
-- Roles belong to the server: another database may create one at the same moment, or an administrator may have
-- created it beforehand for an owner who may not.
CREATE FUNCTION ledger.have_role(in_name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = in_name) THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', in_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    EXECUTE format('GRANT %I TO %I', in_name, current_user);
EXCEPTION
    WHEN unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = in_name) OR NOT pg_has_role(current_user, in_name, 'MEMBER') THEN
            RAISE;
        END IF;
END $$;
COMMENT ON FUNCTION ledger.have_role IS 'Makes sure that a role exists and that the owner of the schema may switch to it.';
SELECT ledger.have_role('crmledger_service');
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger, views TO crmledger_service;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger, views TO crmledger_service;
GRANT SELECT ON schema_migrations TO crmledger_service;
GRANT EXECUTE ON FUNCTION ledger.append, ledger.settle, ledger.take_numbers, ledger.forget_answers, ledger.append_lock,
    ledger.event_hash TO crmledger_service;
