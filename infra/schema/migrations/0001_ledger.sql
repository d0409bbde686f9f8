-- The ledger: the events, and what must be true together with them.
--
-- Every table starts with the organisation: it is the wall between tenants and the key by which the
-- tables are distributed when one server is not enough. Only `world_claims` stands above it.

CREATE SCHEMA ledger;
COMMENT ON SCHEMA ledger IS 'Events and what is decided together with them. Written by ledger.append only.';

CREATE TABLE ledger.events (
    organisation   text        NOT NULL,
    position       bigint      NOT NULL,
    stream_id      uuid        NOT NULL,
    version        integer     NOT NULL,
    topic          text        NOT NULL,
    schema_version smallint    NOT NULL,
    subject        uuid,
    payload        json        NOT NULL,
    metadata       json        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    event_hash     bytea       NOT NULL,
    PRIMARY KEY (organisation, position),
    UNIQUE (organisation, stream_id, version)
);
COMMENT ON TABLE ledger.events IS 'Every event, once, in the order in which it was decided. Never changed.';
COMMENT ON COLUMN ledger.events.organisation IS 'The id of the organisation whose ledger it stands in.';
COMMENT ON COLUMN ledger.events.position IS 'Dense per organisation, from 1: a hole means corruption.';
COMMENT ON COLUMN ledger.events.stream_id IS 'The entity that the event is about.';
COMMENT ON COLUMN ledger.events.version IS 'Dense per entity, from 1.';
COMMENT ON COLUMN ledger.events.topic IS 'What happened: entity, a dot, the event in the past tense.';
COMMENT ON COLUMN ledger.events.schema_version IS 'The form of the payload.';
COMMENT ON COLUMN ledger.events.subject IS 'The contact that the event is about, whose key encrypts the payload''s personal part; null if there is none.';
COMMENT ON COLUMN ledger.events.payload IS 'What the event says; personal values are encrypted under "personal".';
COMMENT ON COLUMN ledger.events.metadata IS 'When it was decided, by whom (user, unit, session), in which request and command.';
COMMENT ON COLUMN ledger.events.recorded_at IS 'When it was recorded, by the database''s clock; never earlier than the position before.';
COMMENT ON COLUMN ledger.events.event_hash IS 'SHA-256 over all other columns (see ledger.event_hash).';

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON ledger.events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE FUNCTION ledger.event_hash(
    organisation text, "position" bigint, stream_id uuid, version integer, topic text,
    schema_version smallint, subject uuid, payload text, metadata text, recorded_at timestamptz
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(
        'crmledger.event.1' || E'\n' || organisation || E'\n' || "position" || E'\n' || stream_id || E'\n'
        || version || E'\n' || topic || E'\n' || schema_version || E'\n' || coalesce(subject::text, '') || E'\n'
        || (extract(epoch FROM recorded_at) * 1000000)::bigint || E'\n'
        || octet_length(metadata) || E'\n' || metadata || E'\n' || payload, 'UTF8'))
$$;
COMMENT ON FUNCTION ledger.event_hash IS
    'The hash of one event: one line per column, the times in microseconds since 1970 UTC, the metadata with its length in bytes before it, the payload last. It depends on no other event.';

CREATE TABLE ledger.claims (
    organisation text NOT NULL,
    claim        text NOT NULL,
    stream_id    uuid NOT NULL,
    PRIMARY KEY (organisation, claim, stream_id)
);
COMMENT ON TABLE ledger.claims IS 'What no entity of an organisation may take that another one has. Several have the same only where a rule was made stricter over them.';

CREATE TABLE ledger.world_claims (
    claim        text PRIMARY KEY,
    organisation text NOT NULL,
    stream_id    uuid NOT NULL,
    entity       text NOT NULL
);
COMMENT ON TABLE ledger.world_claims IS 'The same over all organisations: names of organisations, keyed hashes of web API keys.';

CREATE TABLE ledger.sequences (
    organisation text   NOT NULL,
    name         text   NOT NULL,
    value        bigint NOT NULL,
    PRIMARY KEY (organisation, name)
);
COMMENT ON TABLE ledger.sequences IS 'The last number given out of each sequence.';

CREATE TABLE ledger.answers (
    organisation text        NOT NULL,
    key          text        NOT NULL,
    command      text        NOT NULL,
    request_hash text        NOT NULL,
    answer       bytea       NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (organisation, key)
);
CREATE INDEX answers_by_age ON ledger.answers (recorded_at);
COMMENT ON TABLE ledger.answers IS 'The first answer to each Idempotency-Key, kept for 24 hours.';

CREATE TABLE ledger.given_up (
    organisation text        NOT NULL,
    command      text        NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (organisation, command)
);
COMMENT ON TABLE ledger.given_up IS 'Commands whose callers lost their connection and were told that nothing was written: should they arrive late, they are refused.';

CREATE TABLE ledger.secrets (
    organisation text NOT NULL,
    key_id       text NOT NULL,
    owner        text NOT NULL,
    name         text NOT NULL,
    verifier     text NOT NULL,
    PRIMARY KEY (organisation, key_id),
    UNIQUE (organisation, owner, name)
);
COMMENT ON TABLE ledger.secrets IS 'Verifiers of passwords and keys, never the secrets; events name them by key_id.';

CREATE TABLE ledger.personal_keys (
    organisation text        NOT NULL,
    subject      uuid        NOT NULL,
    wrapped      bytea       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, subject)
);
COMMENT ON TABLE ledger.personal_keys IS 'Each contact''s key, wrapped by the service key. Destroying it makes the contact''s events unreadable.';

CREATE TABLE ledger.photos (
    organisation text  NOT NULL,
    id           text  NOT NULL,
    contact      text  NOT NULL,
    file_name    text  NOT NULL,
    mime_type    text  NOT NULL,
    content      bytea NOT NULL,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX photos_by_contact ON ledger.photos (organisation, contact);
COMMENT ON TABLE ledger.photos IS 'Bytes of the current profile photos; the events hold their digests.';
