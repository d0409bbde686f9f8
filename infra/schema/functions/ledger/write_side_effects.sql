CREATE OR REPLACE FUNCTION ledger.write_side_effects(
    in_organisation text, in_effects jsonb[], in_moment timestamptz
) RETURNS void LANGUAGE plpgsql AS $$
-- What a command changes beside events and views. Only of those that are written; the views are as
-- they were before. A statement runs only where a command wants it: without any, a plan that suits
-- none may read all of a ledger to find that out. Rows are deleted one by one: joined, they may be
-- planned as a scan of all.
DECLARE
    kinds    text[];
    commands text[] := '{}';
    stream   uuid;
    item     record;
BEGIN
    kinds := ARRAY(SELECT DISTINCT k FROM unnest(in_effects) AS e (effects),
                          jsonb_object_keys(e.effects) AS k);
    IF 'release' = ANY (kinds) THEN
        FOR item IN
            SELECT t.* FROM unnest(in_effects) AS e (effects),
                   jsonb_to_recordset(e.effects -> 'release') AS t (claim text, stream uuid)
        LOOP
            DELETE FROM ledger.claims c
             WHERE c.organisation = in_organisation
               AND c.claim = item.claim AND c.stream_id = item.stream;
        END LOOP;
    END IF;
    IF 'reclaim' = ANY (kinds) THEN
        PERFORM ledger.rebuild_claims(in_organisation, t.type, t.rule)
           FROM unnest(in_effects) AS e (effects),
                jsonb_to_recordset(e.effects -> 'reclaim') AS t (type text, rule text[]);
    END IF;
    IF 'take' = ANY (kinds) THEN
        INSERT INTO ledger.claims (organisation, claim, stream_id)
        SELECT in_organisation, t.claim, t.stream
          FROM unnest(in_effects) AS e (effects),
               jsonb_to_recordset(e.effects -> 'take') AS t (claim text, stream uuid);
    END IF;
    IF 'release_worldwide' = ANY (kinds) THEN
        FOR item IN
            SELECT t.* FROM unnest(in_effects) AS e (effects),
                   jsonb_to_recordset(e.effects -> 'release_worldwide')
                       AS t (claim text, stream uuid)
        LOOP
            DELETE FROM ledger.global_claims c
             WHERE c.organisation = in_organisation
               AND c.claim = item.claim AND c.stream_id = item.stream;
        END LOOP;
    END IF;
    IF 'take_worldwide' = ANY (kinds) THEN
        INSERT INTO ledger.global_claims (claim, organisation, stream_id, entity)
        SELECT t.claim, in_organisation, t.stream, t.entity
          FROM unnest(in_effects) AS e (effects),
               jsonb_to_recordset(e.effects -> 'take_worldwide')
                   AS t (claim text, stream uuid, entity text);
    END IF;
    IF 'secrets' = ANY (kinds) THEN
        FOR item IN
            SELECT t.* FROM unnest(in_effects) AS e (effects),
                   jsonb_to_recordset(e.effects -> 'secrets') AS t (owner text, name text)
        LOOP
            DELETE FROM ledger.secrets s
             WHERE s.organisation = in_organisation
               AND s.owner = item.owner AND s.name = item.name;
        END LOOP;
    END IF;
    IF 'drop_secrets' = ANY (kinds) THEN
        FOR item IN
            SELECT t.* FROM unnest(in_effects) AS e (effects),
                   jsonb_to_recordset(e.effects -> 'drop_secrets') AS t (owner text, name text)
        LOOP
            DELETE FROM ledger.secrets s
             WHERE s.organisation = in_organisation
               AND s.owner = item.owner AND s.name = item.name;
        END LOOP;
    END IF;
    IF 'secrets' = ANY (kinds) THEN
        INSERT INTO ledger.secrets (organisation, key_id, owner, name, verifier, expires_at)
        SELECT in_organisation, t.key_id, t.owner, t.name, t.verifier, t.expires_at
          FROM unnest(in_effects) AS e (effects),
               jsonb_to_recordset(e.effects -> 'secrets')
                   AS t (key_id text, owner text, name text, verifier text, expires_at timestamptz);
    END IF;
    IF 'forgive' = ANY (kinds) THEN
        FOR item IN
            SELECT t.* FROM unnest(in_effects) AS e (effects),
                   jsonb_array_elements_text(e.effects -> 'forgive') AS t (secret)
        LOOP
            -- The memory of a success stays: without it what others try next would hold for
            -- the owner, too.
            DELETE FROM ledger.guesses g
             WHERE g.organisation = in_organisation AND g.secret = item.secret
               AND NOT g.succeeded;
            UPDATE ledger.guesses g SET tries = 0, next_at = '-infinity'
             WHERE g.organisation = in_organisation AND g.secret = item.secret;
        END LOOP;
    END IF;
    IF 'count_notices' = ANY (kinds) THEN
        INSERT INTO ledger.notices (organisation, contact, counted_at, count)
        SELECT in_organisation, t.contact, in_moment, t.count
          FROM unnest(in_effects) AS e (effects),
               jsonb_to_recordset(e.effects -> 'count_notices') AS t (contact text, count integer);
    END IF;
    IF 'personal_keys' = ANY (kinds) THEN
        INSERT INTO ledger.personal_keys (organisation, subject, wrapped)
        SELECT in_organisation, t.subject, decode(t.wrapped, 'base64')
          FROM unnest(in_effects) AS e (effects),
               jsonb_to_recordset(e.effects -> 'personal_keys') AS t (subject uuid, wrapped text);
    END IF;
    IF 'forget' = ANY (kinds) THEN
        FOR item IN
            SELECT t.* FROM unnest(in_effects) AS e (effects),
                   jsonb_to_recordset(e.effects -> 'forget') AS t (subject uuid)
        LOOP
            FOREACH stream IN ARRAY
                ledger.streams_of_subject(in_organisation, item.subject) || item.subject
            LOOP
                commands := commands || ARRAY(
                    SELECT v.metadata ->> 'command' FROM ledger.events v
                     WHERE v.organisation = in_organisation AND v.stream_id = stream
                       AND v.recorded_at > in_moment - interval '24 hours');
            END LOOP;
            INSERT INTO ledger.forgotten (organisation, subject, forgotten_at)
            VALUES (in_organisation, item.subject, in_moment)
            ON CONFLICT DO NOTHING;
            DELETE FROM ledger.personal_keys k
             WHERE k.organisation = in_organisation AND k.subject = item.subject;
        END LOOP;
        -- Of stored responses only that they were given is kept: they show what is forgotten.
        UPDATE ledger.stored_responses a SET response = '{}'
         WHERE a.organisation = in_organisation AND a.command = ANY (commands);
    END IF;
    IF 'drop_photo_of' = ANY (kinds) THEN
        FOR item IN
            SELECT e.effects ->> 'drop_photo_of' AS contact FROM unnest(in_effects) AS e (effects)
        LOOP
            DELETE FROM ledger.photos p
             WHERE p.organisation = in_organisation AND p.contact = item.contact;
        END LOOP;
    END IF;
    IF 'photos' = ANY (kinds) THEN
        INSERT INTO ledger.photos (organisation, id, contact, file_name, mime_type, content)
        SELECT in_organisation, t.id, t.contact, t.file_name, t.mime_type,
               decode(t.content, 'base64')
          FROM unnest(in_effects) AS e (effects),
               jsonb_to_recordset(e.effects -> 'photos')
                   AS t (id text, contact text, file_name text, mime_type text, content text);
    END IF;
END $$;

COMMENT ON FUNCTION ledger.write_side_effects IS
    'Claims, secrets, keys and photos of the commands that are written.';
REVOKE ALL ON FUNCTION ledger.write_side_effects FROM PUBLIC;
