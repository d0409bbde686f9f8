-- The ledger: the events, and what must be true together with them.
--
-- Every table starts with the organisation: it is the wall between tenants and the key by which the
-- tables are distributed when one server is not enough. Only `global_claims` and `view_versions`
-- stand above it.

-- Events of more than 2 kB stay in their row (toast_tuple_target): nearly all of one is encrypted,
-- and does not shrink.
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
    mac            bytea       NOT NULL,
    PRIMARY KEY (organisation, position),
    UNIQUE (organisation, stream_id, version)
) WITH (toast_tuple_target = 8160);
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OF organisation, position, stream_id, version,
    topic, schema_version, subject, payload, metadata, recorded_at, event_hash ON ledger.events
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON ledger.events
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
COMMENT ON TABLE ledger.events IS
    'Every event, once, in the order in which it was decided. Never changed.';
COMMENT ON COLUMN ledger.events.organisation IS
    'The id of the organisation whose ledger it stands in.';
COMMENT ON COLUMN ledger.events.position IS
    'Dense per organisation, from 1: a hole means corruption.';
COMMENT ON COLUMN ledger.events.stream_id IS 'The entity that the event is about.';
COMMENT ON COLUMN ledger.events.version IS 'Dense per entity, from 1.';
COMMENT ON COLUMN ledger.events.topic IS
    'What happened: entity, a dot, the event in the past tense.';
COMMENT ON COLUMN ledger.events.schema_version IS 'The form of the payload.';
COMMENT ON COLUMN ledger.events.subject IS
    'The contact that the event is about, whose key encrypts the payload''s personal part; null '
    'if there is none.';
COMMENT ON COLUMN ledger.events.payload IS
    'What the event says; personal values are encrypted under "personal".';
COMMENT ON COLUMN ledger.events.metadata IS
    'When it was decided, by whom (user, unit, session), in which request and command.';
COMMENT ON COLUMN ledger.events.recorded_at IS
    'When it was recorded, by the database''s clock; never earlier than the position before.';
COMMENT ON COLUMN ledger.events.event_hash IS
    'SHA-256 over all columns before it (see ledger.event_hash): what anyone can verify.';
COMMENT ON COLUMN ledger.events.mac IS
    'The id of a service key, and the HMAC-SHA-256 under it of all that the service decides of the '
    'event: without the key nobody can write one. It alone changes, when another key takes over.';

-- What an append decides with them: unique values and numbers.

CREATE TABLE ledger.claims (
    organisation text NOT NULL,
    claim        text NOT NULL,
    stream_id    uuid NOT NULL,
    PRIMARY KEY (organisation, claim, stream_id)
);
COMMENT ON TABLE ledger.claims IS
    'What no entity of an organisation may take that another one has. Several have the same only '
    'where a rule was made stricter over them.';

CREATE TABLE ledger.global_claims (
    claim        text PRIMARY KEY,
    organisation text NOT NULL,
    stream_id    uuid NOT NULL,
    entity       text NOT NULL
);
COMMENT ON TABLE ledger.global_claims IS
    'The same over all organisations: names of organisations, keyed hashes of web API keys.';

CREATE TABLE ledger.sequences (
    organisation text   NOT NULL,
    name         text   NOT NULL,
    value        bigint NOT NULL,
    PRIMARY KEY (organisation, name)
);
COMMENT ON TABLE ledger.sequences IS 'The last number given out of each sequence.';

-- What became of a call: responses for those who repeat it, outcomes for those who ask later.

CREATE TABLE ledger.stored_responses (
    organisation text        NOT NULL,
    key          text        NOT NULL,
    caller       text        NOT NULL,
    command      text        NOT NULL,
    request_hash text        NOT NULL,
    response     bytea       NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (organisation, key, caller)
);
CREATE INDEX stored_responses_by_age ON ledger.stored_responses (recorded_at);
COMMENT ON TABLE ledger.stored_responses IS
    'The first response to each Idempotency-Key of a caller, kept for 24 hours.';
COMMENT ON COLUMN ledger.stored_responses.caller IS
    'The user who called, a slash, and the customer''s account in whose session; a key of anybody '
    'else''s is another key.';

CREATE TABLE ledger.request_outcomes (
    organisation text        NOT NULL,
    caller       text        NOT NULL,
    key          text        NOT NULL,
    command      text        NOT NULL,
    position     bigint      NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (organisation, caller, key)
);
CREATE INDEX request_outcomes_by_age ON ledger.request_outcomes (organisation, recorded_at);
COMMENT ON TABLE ledger.request_outcomes IS
    'Which calls with an Idempotency-Key were written, kept for 7 days: longer than their '
    'answers.';
COMMENT ON COLUMN ledger.request_outcomes.caller IS
    'The user who called, a slash, and the customer''s account in whose session; nobody else is '
    'told.';
COMMENT ON COLUMN ledger.request_outcomes.position IS
    'The last position that the call has written; that of the ledger at that moment if it wrote '
    'no event.';

CREATE TABLE ledger.abandoned_commands (
    organisation text        NOT NULL,
    command      text        NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (organisation, command)
);
COMMENT ON TABLE ledger.abandoned_commands IS
    'Commands whose callers lost their connection and were told that nothing was written: should '
    'they arrive late, they are refused.';

CREATE TABLE ledger.revoked_keys (
    organisation text        NOT NULL,
    caller       text        NOT NULL,
    key          text        NOT NULL,
    revoked_at   timestamptz NOT NULL,
    PRIMARY KEY (organisation, caller, key)
);
CREATE INDEX revoked_keys_by_age ON ledger.revoked_keys (organisation, caller, revoked_at);
COMMENT ON TABLE ledger.revoked_keys IS
    'Keys of which their callers were told that nothing was written and nothing will be: a call '
    'that comes with one is refused. Kept for 7 days, as outcomes are.';

-- Credentials.

CREATE TABLE ledger.secrets (
    organisation text NOT NULL,
    key_id       text NOT NULL,
    owner        text NOT NULL,
    name         text NOT NULL,
    verifier     text NOT NULL,
    expires_at   timestamptz,
    PRIMARY KEY (organisation, key_id),
    UNIQUE (organisation, owner, name)
);
CREATE INDEX secrets_by_verifier
    ON ledger.secrets (organisation, name, verifier) WHERE expires_at IS NOT NULL;
COMMENT ON TABLE ledger.secrets IS
    'Verifiers of passwords and keys, never the secrets; events name them by key_id. What the '
    'service must show to others itself (the password of an e-mail server) is sealed with the '
    'service key instead.';
COMMENT ON COLUMN ledger.secrets.expires_at IS
    'When a one-time password ends to count; null for what does not end by itself.';

CREATE TABLE ledger.guesses (
    organisation text        NOT NULL,
    secret       text        NOT NULL,
    source       text        NOT NULL,
    tries        integer     NOT NULL DEFAULT 0,
    next_at      timestamptz NOT NULL DEFAULT '-infinity',
    first_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    succeeded    boolean     NOT NULL DEFAULT false,
    PRIMARY KEY (organisation, secret, source)
);
CREATE INDEX guesses_by_age ON ledger.guesses (organisation, last_at);
COMMENT ON TABLE ledger.guesses IS
    'Tries of secrets since the last success, counted before they are made: passwords, pass codes, '
    'verification codes, one-time passwords, authentication codes, web API keys, the operator key. '
    'Those that belong to no organisation stand under an empty name.';
COMMENT ON COLUMN ledger.guesses.secret IS
    'What was tried: owner and name of a secret, or a keyed hash of a name that nobody has; a name '
    'alone for all secrets of that name, empty for all secrets.';
COMMENT ON COLUMN ledger.guesses.source IS
    'Where the tries came from, as a keyed hash; empty for all sources that never succeeded '
    'together.';
COMMENT ON COLUMN ledger.guesses.first_at IS
    'When the first of the tries was made: a day later they no longer count.';
COMMENT ON COLUMN ledger.guesses.next_at IS 'Before this moment no further try is made.';
COMMENT ON COLUMN ledger.guesses.succeeded IS
    'Whether this source has ever known the secret: then what others do cannot lock it out.';

CREATE TABLE ledger.notices (
    organisation text        NOT NULL,
    contact      text        NOT NULL,
    counted_at   timestamptz NOT NULL,
    count        integer     NOT NULL
);
CREATE INDEX notices_by_contact ON ledger.notices (organisation, contact, counted_at);
COMMENT ON TABLE ledger.notices IS
    'Notices that customers have caused by calls of their own, counted for an hour.';

-- What belongs to a person, and its end: the key of all events about a contact is destroyed, and
-- nothing brings it back.

CREATE TABLE ledger.personal_keys (
    organisation text        NOT NULL,
    subject      uuid        NOT NULL,
    wrapped      bytea       NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (organisation, subject)
);
CREATE TRIGGER forgotten BEFORE INSERT OR UPDATE ON ledger.personal_keys
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_forgotten();
COMMENT ON TABLE ledger.personal_keys IS
    'Each contact''s key, wrapped by the service key. Destroying it makes the contact''s events '
    'unreadable.';

CREATE TABLE ledger.forgotten (
    organisation text        NOT NULL,
    subject      uuid        NOT NULL,
    forgotten_at timestamptz NOT NULL,
    PRIMARY KEY (organisation, subject)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.forgotten
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON ledger.forgotten
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER shadow_rows AFTER INSERT ON ledger.forgotten
    FOR EACH ROW EXECUTE FUNCTION ledger.erase_shadow_rows();
COMMENT ON TABLE ledger.forgotten IS
    'Whose keys were destroyed on purpose: their events are read without what was personal, and '
    'no key of theirs is taken in again.';

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
COMMENT ON TABLE ledger.photos IS
    'Bytes of the current profile photos; the events hold their digests.';

-- Seals: signed statements about closed ranges of the ledger, and what the next one is made from.

CREATE TABLE ledger.seals (
    organisation   text   NOT NULL,
    number         bigint NOT NULL,
    statement      json   NOT NULL,
    signature      bytea  NOT NULL CHECK (octet_length(signature) = 64),
    leaves         bytea  NOT NULL,
    first_position bigint NOT NULL GENERATED ALWAYS AS ((statement ->> 'first')::bigint) STORED,
    last_position  bigint NOT NULL GENERATED ALWAYS AS ((statement ->> 'last')::bigint) STORED,
    root           bytea  NOT NULL GENERATED ALWAYS AS (decode(statement ->> 'root', 'hex')) STORED,
    PRIMARY KEY (organisation, number),
    UNIQUE (organisation, first_position),
    UNIQUE (organisation, last_position),
    CHECK (statement ->> 'organisation' = organisation
           AND (statement ->> 'number')::bigint = number),
    CHECK (octet_length(leaves) = 32 * (last_position - first_position + 1))
);
-- Hashes do not shrink.
ALTER TABLE ledger.seals ALTER COLUMN leaves SET STORAGE EXTERNAL;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.seals
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON ledger.seals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
COMMENT ON TABLE ledger.seals IS
    'Signed statements, each about the events since the former one. Never changed; written by '
    'ledger.add_seal only.';
COMMENT ON COLUMN ledger.seals.organisation IS 'The id of the organisation whose ledger is sealed.';
COMMENT ON COLUMN ledger.seals.number IS 'Dense per organisation, from 1.';
COMMENT ON COLUMN ledger.seals.statement IS
    'What is signed, to the letter: range, root, root over all streams, hash of the former '
    'statement, time, key.';
COMMENT ON COLUMN ledger.seals.signature IS
    'Ed25519 over the statement''s text in UTF-8, by the key that it names.';
COMMENT ON COLUMN ledger.seals.leaves IS
    'The hashes of the sealed events in their order: what the root was made of. Names the '
    'position where the root no longer fits.';
COMMENT ON COLUMN ledger.seals.first_position IS
    'The first position sealed, as the statement says.';
COMMENT ON COLUMN ledger.seals.last_position IS 'The last position sealed, as the statement says.';
COMMENT ON COLUMN ledger.seals.root IS
    'The Merkle root (RFC 6962) over the leaves, as the statement says.';

CREATE TABLE ledger.seal_tree_heads (
    organisation text    NOT NULL,
    bucket       bytea   NOT NULL,
    stream_id    uuid    NOT NULL,
    version      integer NOT NULL,
    chain        bytea   NOT NULL,
    PRIMARY KEY (organisation, bucket, stream_id)
);
COMMENT ON TABLE ledger.seal_tree_heads IS
    'How far each entity had come at the last seal. Follows from the events; never trusted beyond '
    'the root that was signed.';
COMMENT ON COLUMN ledger.seal_tree_heads.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN ledger.seal_tree_heads.bucket IS
    'The first two bytes of SHA-256 of the stream''s id.';
COMMENT ON COLUMN ledger.seal_tree_heads.stream_id IS 'The entity.';
COMMENT ON COLUMN ledger.seal_tree_heads.version IS 'Its last version that is sealed.';
COMMENT ON COLUMN ledger.seal_tree_heads.chain IS
    'The chain over the hashes of its events up to that version.';

CREATE TABLE ledger.seal_tree_nodes (
    organisation text  NOT NULL,
    parent       bytea NOT NULL,
    prefix       bytea NOT NULL,
    hash         bytea NOT NULL,
    PRIMARY KEY (organisation, parent, prefix)
);
COMMENT ON TABLE ledger.seal_tree_nodes IS
    'The hashes over buckets of seal_tree_heads and over groups of buckets, so that a seal folds '
    'only what has changed.';
COMMENT ON COLUMN ledger.seal_tree_nodes.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN ledger.seal_tree_nodes.parent IS 'The prefix without its last byte.';
COMMENT ON COLUMN ledger.seal_tree_nodes.prefix IS
    'What the keys of the streams below begin with: one byte or two.';
COMMENT ON COLUMN ledger.seal_tree_nodes.hash IS 'The hash of the tree over these streams.';

-- Ways for auditors to find events. Beside the ledger, and filled when somebody asks: indexes on
-- the events themselves would cost every append more than the event does.

CREATE TABLE ledger.origins (
    organisation text   NOT NULL,
    position     bigint NOT NULL,
    actor        text,
    request      text,
    correlation  text,
    PRIMARY KEY (organisation, position)
);
CREATE INDEX origins_by_actor
    ON ledger.origins (organisation, actor, position) WHERE actor IS NOT NULL;
CREATE INDEX origins_by_request
    ON ledger.origins (organisation, request, position) WHERE request IS NOT NULL;
CREATE INDEX origins_by_correlation
    ON ledger.origins (organisation, correlation, position) WHERE correlation IS NOT NULL;
COMMENT ON TABLE ledger.origins IS
    'Who and what events came of, copied from their metadata to be found by it; behind the ledger '
    'until somebody asks. Can be emptied at any time.';

-- Which definition wrote the rows of each view.

CREATE TABLE ledger.view_versions (
    view       text        PRIMARY KEY,
    version    integer     NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE ledger.view_versions IS
    'The version of its definition by which each view''s rows were written, and since when.';

INSERT INTO ledger.view_versions (view, version)
VALUES ('views.access_tokens', 3),
       ('views.communications', 1),
       ('views.contacts', 2),
       ('views.entities', 3),
       ('views.identifiers', 2),
       ('views.queue_entries', 1),
       ('views.records', 2),
       ('views.service_requests', 1),
       ('views.sessions', 3),
       ('analytics.daily_events', 1),
       ('analytics.transitions', 1);

GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO crmledger_service;
GRANT SELECT ON ledger.events, ledger.view_versions TO crmledger_projector;
GRANT SELECT ON ledger.events TO crmledger_deliverer;
