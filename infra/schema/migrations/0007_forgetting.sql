-- Forgetting a person: the key of all events about a contact is destroyed, and nothing brings it back.

CREATE TABLE ledger.forgotten (
    organisation text        NOT NULL,
    subject      uuid        NOT NULL,
    forgotten_at timestamptz NOT NULL,
    PRIMARY KEY (organisation, subject)
);
COMMENT ON TABLE ledger.forgotten IS 'Whose keys were destroyed on purpose: their events are read without what was personal, and no key of theirs is taken in again.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.forgotten
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON ledger.forgotten
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
GRANT SELECT ON ledger.forgotten TO crmledger_service;

CREATE FUNCTION ledger.refuse_forgotten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger.forgotten f WHERE f.organisation = NEW.organisation AND f.subject = NEW.subject) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION ledger.refuse_forgotten IS 'Leaves out keys of people who were forgotten, as when an older copy of the keys is put back.';
CREATE TRIGGER forgotten BEFORE INSERT OR UPDATE ON ledger.personal_keys
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_forgotten();

CREATE FUNCTION ledger.id_text(in_id uuid) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT upper(replace(in_id::text, '-', '')) $$;
COMMENT ON FUNCTION ledger.id_text IS 'An id as callers see it: 32 upper-case hex digits.';

CREATE FUNCTION ledger.streams_of(in_organisation text, in_subject uuid) RETURNS uuid[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(s.id::uuid ORDER BY s.id), '{}')
      FROM (SELECT c.id FROM views.communications c
             WHERE c.organisation = in_organisation AND c.contact_information = ledger.id_text(in_subject)
            UNION ALL
            SELECT q.id FROM views.queue_entries q
             WHERE q.organisation = in_organisation AND q.contact_information = ledger.id_text(in_subject)
            UNION ALL
            SELECT r.id FROM views.service_requests r
             WHERE r.organisation = in_organisation AND r.contact_information = ledger.id_text(in_subject)) AS s
$$;
COMMENT ON FUNCTION ledger.streams_of IS 'What else than the contact itself has events that its key encrypts.';

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
        SELECT e.n, 2, 'CONFLICT', t.subject
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_array_elements_text(e.effects -> 'expect_keys') AS t (subject)
         WHERE NOT EXISTS (SELECT FROM ledger.personal_keys k
                            WHERE k.organisation = in_organisation AND k.subject = t.subject::uuid)
        UNION ALL
        SELECT e.n, 2, 'CONFLICT', t.subject::text
          FROM unnest(in_effects) WITH ORDINALITY AS e (effects, n),
               jsonb_to_recordset(e.effects -> 'forget') AS t (subject uuid, streams integer)
         WHERE t.streams <> cardinality(ledger.streams_of(in_organisation, t.subject))
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
    -- Of answers to repeated calls only that they were given is kept: they show what is forgotten.
    UPDATE ledger.answers a SET answer = '{}'
      FROM unnest(in_effects) AS e (effects), jsonb_to_recordset(e.effects -> 'forget') AS t (subject uuid),
           unnest(ledger.streams_of(in_organisation, t.subject) || t.subject) AS s (id),
           LATERAL (SELECT v.metadata ->> 'command' AS command FROM ledger.events v
                     WHERE v.organisation = in_organisation AND v.stream_id = s.id
                       AND v.recorded_at > in_moment - interval '24 hours') AS v
     WHERE a.organisation = in_organisation AND a.command = v.command;
    INSERT INTO ledger.forgotten (organisation, subject, forgotten_at)
    SELECT in_organisation, t.subject, in_moment
      FROM unnest(in_effects) AS e (effects), jsonb_to_recordset(e.effects -> 'forget') AS t (subject uuid)
    ON CONFLICT DO NOTHING;
    DELETE FROM ledger.personal_keys k
     USING unnest(in_effects) AS e (effects), jsonb_to_recordset(e.effects -> 'forget') AS t (subject uuid)
     WHERE k.organisation = in_organisation AND k.subject = t.subject;
    DELETE FROM ledger.photos p
     USING unnest(in_effects) AS e (effects)
     WHERE p.organisation = in_organisation AND p.contact = e.effects ->> 'drop_photo_of';
    INSERT INTO ledger.photos (organisation, id, contact, file_name, mime_type, content)
    SELECT in_organisation, t.id, t.contact, t.file_name, t.mime_type, decode(t.content, 'base64')
      FROM unnest(in_effects) AS e (effects),
           jsonb_to_recordset(e.effects -> 'photos')
               AS t (id text, contact text, file_name text, mime_type text, content text);
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.streams_of, ledger.id_text TO crmledger_service;
