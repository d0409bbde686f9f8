-- Customers and their credentials: access tokens, sessions of consumers and whose each entity is, limits on
-- guesses. And one function for each view that writes it.

ALTER TABLE views.entities ADD COLUMN owners text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN views.entities.owners IS 'The entities ("kind/id") whose it is. What reaches a customer through them is that customer''s.';
UPDATE views.entities e
   SET owners = ARRAY(
           SELECT o.kind || '/' || (r.document ->> o.kind)
             FROM unnest(ARRAY['contact_information', 'accounts_receivable', 'rewards_participant', 'subscription'])
                      AS o (kind)
            WHERE r.document ->> o.kind IS NOT NULL)
  FROM views.records r
 WHERE r.organisation = e.organisation AND e.ref = r.kind || '/' || r.id
   AND NOT r.directory AND r.kind <> 'accounts_receivable';
UPDATE views.entities e SET owners = ARRAY['contact_information/' || c.contact_information]
  FROM views.communications c WHERE c.organisation = e.organisation AND e.ref = 'communication/' || c.id;
UPDATE views.entities e SET owners = ARRAY['contact_information/' || q.contact_information]
  FROM views.queue_entries q WHERE q.organisation = e.organisation AND e.ref = 'communication_queue/' || q.id;

ALTER TABLE views.sessions ADD COLUMN access_token text, ADD COLUMN account text, ADD COLUMN contact text;
COMMENT ON COLUMN views.sessions.access_token IS 'Of a consumer session: the access token that was shown.';
COMMENT ON COLUMN views.sessions.account IS 'Of a consumer session: the accounts receivable to which the access token led.';
COMMENT ON COLUMN views.sessions.contact IS 'Of a consumer session: the contact that owned the account.';
CREATE INDEX sessions_created ON views.sessions (organisation, created);

CREATE TABLE views.access_tokens (
    organisation        text    NOT NULL,
    id                  text    NOT NULL,
    created             bigint  NOT NULL,
    version             integer NOT NULL,
    document            json    NOT NULL,
    refs                text[]  NOT NULL,
    classification      text,
    accounts_receivable text,
    rewards_participant text,
    associated          boolean NOT NULL,
    life_cycle_state    text    NOT NULL,
    PRIMARY KEY (organisation, id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX access_tokens_accounts_receivable ON views.access_tokens (organisation, accounts_receivable, created) WHERE accounts_receivable IS NOT NULL;
CREATE INDEX access_tokens_rewards_participant ON views.access_tokens (organisation, rewards_participant, created) WHERE rewards_participant IS NOT NULL;
CREATE INDEX access_tokens_not_associated ON views.access_tokens (organisation, created) WHERE NOT associated;
COMMENT ON TABLE views.access_tokens IS 'Access tokens with the columns they are searched by.';
COMMENT ON COLUMN views.access_tokens.associated IS 'Whether an account or participant of it is neither terminated nor retired.';
GRANT SELECT ON views.access_tokens TO crmledger_service;

CREATE FUNCTION views.reaches(in_organisation text, in_ref text, in_customer text[]) RETURNS boolean LANGUAGE sql STABLE AS $$
    WITH RECURSIVE up (ref) AS (
        SELECT in_ref
        UNION
        SELECT unnest(e.owners) FROM up, LATERAL (
            SELECT owners FROM views.entities e WHERE e.organisation = in_organisation AND e.ref = up.ref LIMIT 1) AS e
    )
    SELECT EXISTS (SELECT FROM up WHERE ref = ANY (in_customer))
$$;
COMMENT ON FUNCTION views.reaches IS 'Whether an entity ("kind/id") is one of a customer''s, or belongs to one of them, directly or through its owners.';

CREATE FUNCTION views.session_stands(in_organisation text, in_access_token text, in_account text, in_contact text)
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM views.access_tokens t
                    WHERE t.organisation = in_organisation AND t.id = in_access_token
                      AND t.life_cycle_state = 'EFFECTIVE')
       AND views.reaches(in_organisation, 'access_token/' || in_access_token, ARRAY['accounts_receivable/' || in_account])
       AND EXISTS (SELECT FROM views.records r
                    WHERE r.organisation = in_organisation AND r.kind = 'accounts_receivable' AND r.id = in_account
                      AND NOT r.retired AND r.document ->> 'account_owner' = in_contact)
$$;
COMMENT ON FUNCTION views.session_stands IS 'Whether an access token still leads a customer to the account and contact of a session.';

ALTER TABLE ledger.secrets ADD COLUMN expires_at timestamptz;
COMMENT ON COLUMN ledger.secrets.expires_at IS 'When a one-time password ends to count; null for what does not end by itself.';
CREATE INDEX secrets_by_verifier ON ledger.secrets (organisation, name, verifier) WHERE expires_at IS NOT NULL;

CREATE TABLE ledger.guesses (
    organisation text        NOT NULL,
    secret       text        NOT NULL,
    source       text        NOT NULL,
    tries        integer     NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT '-infinity',
    last_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    succeeded    boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (organisation, secret, source)
);
COMMENT ON TABLE ledger.guesses IS 'Tries of pass codes, verification codes and one-time passwords since the last success, counted before they are made.';
COMMENT ON COLUMN ledger.guesses.secret IS 'What was tried: owner and name of a secret, or a keyed hash of a name that nobody has.';
COMMENT ON COLUMN ledger.guesses.source IS 'Where the tries came from, as a keyed hash; empty for all sources that never succeeded together.';
COMMENT ON COLUMN ledger.guesses.next_at IS 'Before this moment no further try is made.';
COMMENT ON COLUMN ledger.guesses.succeeded IS 'Whether this source has ever known the secret: then what others do cannot lock it out.';
CREATE INDEX guesses_by_age ON ledger.guesses (organisation, last_at);
GRANT SELECT ON ledger.guesses TO crmledger_service;

CREATE FUNCTION ledger.count_guess(
    in_organisation text, in_secret text, in_source text,
    in_per_source integer, in_per_secret integer, in_first_wait integer, in_longest_wait integer
) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    moment timestamptz;
    known  boolean;
    wait   double precision;
BEGIN
    INSERT INTO ledger.guesses (organisation, secret, source)
    VALUES (in_organisation, in_secret, ''), (in_organisation, in_secret, in_source) ON CONFLICT DO NOTHING;
    -- Whoever tries the same secret meanwhile waits here, and counts on from what this try leaves behind.
    PERFORM FROM ledger.guesses g
      WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source IN ('', in_source)
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
                          ELSE moment + least(in_longest_wait, in_first_wait * 2.0 ^ least(g.tries + 1 - l.free, 30))
                                        * interval '1 second' END
      FROM (SELECT CASE WHEN s.source = '' THEN in_per_secret ELSE in_per_source END AS free, s.source
              FROM unnest(ARRAY['', in_source]) AS s (source)) AS l
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = l.source
       AND (g.source = in_source OR NOT known);
    RETURN 0;
END $$;
COMMENT ON FUNCTION ledger.count_guess IS 'Counts a try of a secret before it is made: 0 if it may be made, else the seconds to wait (nothing is counted then). So many tries are free, for one source and for all that never succeeded together; each further one costs a wait, doubled up to the longest.';

CREATE FUNCTION ledger.forgive_guesses(in_organisation text, in_secret text, in_source text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own integer;
BEGIN
    PERFORM FROM ledger.guesses g
      WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source IN ('', in_source)
      ORDER BY g.source FOR UPDATE;
    SELECT CASE WHEN g.succeeded THEN 0 ELSE g.tries END INTO own FROM ledger.guesses g
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = in_source;
    UPDATE ledger.guesses g SET tries = greatest(g.tries - own, 0)
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = '' AND own > 0;
    UPDATE ledger.guesses g SET tries = 0, next_at = '-infinity', succeeded = true
     WHERE g.organisation = in_organisation AND g.secret = in_secret AND g.source = in_source;
END $$;
COMMENT ON FUNCTION ledger.forgive_guesses IS 'Forgets the tries of a source that has succeeded, and remembers that it has.';

CREATE FUNCTION ledger.write_entities(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO entities (organisation, ref, stream_id, retired, document, refs, owners)
    SELECT in_organisation, r.kind || '/' || r.id, w.stream, coalesce(r.retired, false),
           w.document::json, string_to_array(w.refs, ' '), coalesce(r.owners, '{}')
      FROM unnest(view_name, view_stream, view_columns, view_document, view_refs)
               AS w (name, stream, columns, document, refs),
           json_to_record(w.columns::json) AS r (kind text, id text, retired boolean, owners text[])
     WHERE w.name = 'entities'
    ON CONFLICT (organisation, ref) DO UPDATE
       SET retired = excluded.retired, document = excluded.document, refs = excluded.refs,
           owners = excluded.owners;
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
END $$;
COMMENT ON FUNCTION ledger.write_entities IS 'Entities and the names that callers may identify them by.';

CREATE FUNCTION ledger.write_records(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
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
END $$;
COMMENT ON FUNCTION ledger.write_records IS 'Registered records.';

CREATE FUNCTION ledger.write_sessions(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO sessions (organisation, id, created, version, user_id, unit_id, expires_at, released,
           access_token, account, contact)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, r.user_id, r.unit_id, r.expires_at, r.released, r.access_token, r.account, r.contact
      FROM unnest(view_name, view_stream, view_version, view_columns) AS w (name, stream, version, columns),
           json_to_record(w.columns::json)
               AS r (id text, user_id text, unit_id text, expires_at bigint, released boolean,
                     access_token text, account text, contact text)
     WHERE w.name = 'sessions'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, released = excluded.released;
END $$;
COMMENT ON FUNCTION ledger.write_sessions IS 'Sessions.';

CREATE FUNCTION ledger.write_contacts(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
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
END $$;
COMMENT ON FUNCTION ledger.write_contacts IS 'Contacts.';

CREATE FUNCTION ledger.write_communications(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
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
END $$;
COMMENT ON FUNCTION ledger.write_communications IS 'Communications.';

CREATE FUNCTION ledger.write_queue_entries(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
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
END $$;
COMMENT ON FUNCTION ledger.write_queue_entries IS 'Entries of the sending queue.';

CREATE FUNCTION ledger.write_access_tokens(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO access_tokens (organisation, id, created, version, document, refs, classification, accounts_receivable,
           rewards_participant, associated, life_cycle_state)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, w.document::json, string_to_array(w.refs, ' '),
           r.classification, r.accounts_receivable, r.rewards_participant, r.associated, r.life_cycle_state
      FROM unnest(view_name, view_stream, view_version, view_columns, view_document, view_refs)
               AS w (name, stream, version, columns, document, refs),
           json_to_record(w.columns::json) AS r (id text, classification text, accounts_receivable text,
               rewards_participant text, associated boolean, life_cycle_state text)
     WHERE w.name = 'access_tokens'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, document = excluded.document, refs = excluded.refs,
           associated = excluded.associated, life_cycle_state = excluded.life_cycle_state;
END $$;
COMMENT ON FUNCTION ledger.write_access_tokens IS 'Access tokens.';

CREATE OR REPLACE FUNCTION ledger.write_views(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
-- Table names are not qualified in what is called: append writes the live views, a rebuild those beside them.
-- Rows of others are looked up one by one, by their key (LATERAL with a limit, or a subquery): a join may be
-- planned as a scan of all that the organisation has.
BEGIN
    IF 'entities' = ANY (view_name) THEN
        PERFORM ledger.write_entities(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'records' = ANY (view_name) THEN
        PERFORM ledger.write_records(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'sessions' = ANY (view_name) THEN
        PERFORM ledger.write_sessions(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'contacts' = ANY (view_name) THEN
        PERFORM ledger.write_contacts(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'communications' = ANY (view_name) THEN
        PERFORM ledger.write_communications(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'queue_entries' = ANY (view_name) THEN
        PERFORM ledger.write_queue_entries(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'access_tokens' = ANY (view_name) THEN
        PERFORM ledger.write_access_tokens(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ledger.losers(
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
        SELECT e.n, 2, 'CONFLICT', t.column
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'expect_tokens') AS t ("column" text, id text, count integer)
         WHERE t.count <> CASE t.column
                   WHEN 'accounts_receivable' THEN
                       (SELECT count(*) FROM views.access_tokens v
                         WHERE v.organisation = in_organisation AND v.accounts_receivable = t.id)
                   ELSE (SELECT count(*) FROM views.access_tokens v
                          WHERE v.organisation = in_organisation AND v.rewards_participant = t.id) END
        UNION ALL
        SELECT e.n, 3, 'LIMITED', t.column || '_identifier'
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'limit_tokens') AS t ("column" text, id text, most integer)
         WHERE t.most <= CASE t.column
                   WHEN 'accounts_receivable' THEN
                       (SELECT count(*) FROM views.access_tokens v
                         WHERE v.organisation = in_organisation AND v.accounts_receivable = t.id)
                   ELSE (SELECT count(*) FROM views.access_tokens v
                          WHERE v.organisation = in_organisation AND v.rewards_participant = t.id) END
        UNION ALL
        SELECT e.n, 4, 'CLAIMED', t.name
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'secrets')
                   AS t (owner text, name text, verifier text, expires_at timestamptz),
               LATERAL (SELECT FROM ledger.secrets s
                         WHERE s.organisation = in_organisation AND s.name = t.name AND s.verifier = t.verifier
                           AND s.expires_at > in_moment AND s.owner <> t.owner LIMIT 1) AS s
         WHERE t.expires_at IS NOT NULL
        UNION ALL
        SELECT e.n, 4, 'CLAIMED', t.at
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'take') AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.claims c
                         WHERE c.organisation = in_organisation AND c.claim = t.claim AND c.stream_id <> t.stream
                         LIMIT 1) AS c
        UNION ALL
        SELECT e.n, 4, 'CLAIMED', t.at
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'take_worldwide') AS t (claim text, stream uuid, at text),
               LATERAL (SELECT FROM ledger.world_claims c
                         WHERE c.claim = t.claim AND (c.organisation <> in_organisation OR c.stream_id <> t.stream)
                         LIMIT 1) AS c
      ) AS refused
     ORDER BY refused.command, refused.rank
$$;

CREATE OR REPLACE FUNCTION ledger.write_effects(in_organisation text, in_effects jsonb[], in_moment timestamptz)
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
    DELETE FROM ledger.secrets s
     USING unnest(in_effects) AS e (effects),
           jsonb_to_recordset(e.effects -> 'drop_secrets') AS t (owner text, name text)
     WHERE s.organisation = in_organisation AND s.owner = t.owner AND s.name = t.name;
    INSERT INTO ledger.secrets (organisation, key_id, owner, name, verifier, expires_at)
    SELECT in_organisation, t.key_id, t.owner, t.name, t.verifier, t.expires_at
      FROM unnest(in_effects) AS e (effects),
           jsonb_to_recordset(e.effects -> 'secrets')
               AS t (key_id text, owner text, name text, verifier text, expires_at timestamptz);
    DELETE FROM ledger.guesses g
     USING unnest(in_effects) AS e (effects), jsonb_array_elements_text(e.effects -> 'forgive') AS t (secret)
     WHERE g.organisation = in_organisation AND g.secret = t.secret;
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

CREATE OR REPLACE FUNCTION ledger.forget_answers(in_organisation text) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    DELETE FROM ledger.given_up
     WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '24 hours';
    DELETE FROM ledger.guesses
     WHERE organisation = in_organisation
       AND last_at < clock_timestamp() - CASE WHEN succeeded THEN interval '90 days' ELSE interval '24 hours' END;
    WITH forgotten AS (
        DELETE FROM ledger.answers
         WHERE organisation = in_organisation AND recorded_at < clock_timestamp() - interval '24 hours' RETURNING 1)
    SELECT count(*) FROM forgotten
$$;
COMMENT ON FUNCTION ledger.forget_answers IS 'Drops answers to idempotency keys, notes of given up commands and counted guesses that are older than 24 hours, and the memory of sources that have succeeded after 90 days.';

INSERT INTO ledger.view_versions (view, version) VALUES ('views.access_tokens', 1);
UPDATE ledger.view_versions SET version = 2, written_at = clock_timestamp() WHERE view IN ('views.entities', 'views.sessions');

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA views FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.count_guess, ledger.forgive_guesses, views.reaches, views.session_stands TO crmledger_service;
