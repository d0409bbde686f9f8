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
    CHECK (statement ->> 'organisation' = organisation AND (statement ->> 'number')::bigint = number),
    CHECK (octet_length(leaves) = 32 * (last_position - first_position + 1))
);
ALTER TABLE ledger.seals ALTER COLUMN leaves SET STORAGE EXTERNAL;
COMMENT ON TABLE ledger.seals IS 'Signed statements, each about the events since the former one. Never changed; written by ledger.add_seal only.';
COMMENT ON COLUMN ledger.seals.organisation IS 'The id of the organisation whose ledger is sealed.';
COMMENT ON COLUMN ledger.seals.number IS 'Dense per organisation, from 1.';
COMMENT ON COLUMN ledger.seals.statement IS 'What is signed, to the letter: range, root, root over all streams, hash of the former statement, time, key.';
COMMENT ON COLUMN ledger.seals.signature IS 'Ed25519 over the statement''s text in UTF-8, by the key that it names.';
COMMENT ON COLUMN ledger.seals.leaves IS 'The hashes of the sealed events in their order: what the root was made of. Names the position where the root no longer fits.';
COMMENT ON COLUMN ledger.seals.first_position IS 'The first position sealed, as the statement says.';
COMMENT ON COLUMN ledger.seals.last_position IS 'The last position sealed, as the statement says.';
COMMENT ON COLUMN ledger.seals.root IS 'The Merkle root (RFC 6962) over the leaves, as the statement says.';
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.seals
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON ledger.seals
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TABLE ledger.sealed_streams (
    organisation text    NOT NULL,
    bucket       bytea   NOT NULL,
    stream_id    uuid    NOT NULL,
    version      integer NOT NULL,
    chain        bytea   NOT NULL,
    PRIMARY KEY (organisation, bucket, stream_id)
);
COMMENT ON TABLE ledger.sealed_streams IS 'How far each entity had come at the last seal. Follows from the events; never trusted beyond the root that was signed.';
COMMENT ON COLUMN ledger.sealed_streams.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN ledger.sealed_streams.bucket IS 'The first two bytes of SHA-256 of the stream''s id.';
COMMENT ON COLUMN ledger.sealed_streams.stream_id IS 'The entity.';
COMMENT ON COLUMN ledger.sealed_streams.version IS 'Its last version that is sealed.';
COMMENT ON COLUMN ledger.sealed_streams.chain IS 'The chain over the hashes of its events up to that version.';

CREATE TABLE ledger.sealed_nodes (
    organisation text  NOT NULL,
    parent       bytea NOT NULL,
    prefix       bytea NOT NULL,
    hash         bytea NOT NULL,
    PRIMARY KEY (organisation, parent, prefix)
);
COMMENT ON TABLE ledger.sealed_nodes IS 'The hashes over buckets of sealed_streams and over groups of buckets, so that a seal folds only what has changed.';
COMMENT ON COLUMN ledger.sealed_nodes.organisation IS 'The id of the organisation.';
COMMENT ON COLUMN ledger.sealed_nodes.parent IS 'The prefix without its last byte.';
COMMENT ON COLUMN ledger.sealed_nodes.prefix IS 'What the keys of the streams below begin with: one byte or two.';
COMMENT ON COLUMN ledger.sealed_nodes.hash IS 'The hash of the tree over these streams.';

CREATE FUNCTION ledger.add_seal(
    in_organisation text, in_statement text, in_signature bytea, in_leaves bytea,
    stream_bucket bytea[], stream uuid[], stream_version integer[], stream_chain bytea[],
    node_prefix bytea[], node_hash bytea[]
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said   constant json := in_statement::json;
    former record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('crmledger.seal/' || in_organisation, 0));
    SELECT s.number, s.last_position, encode(sha256(convert_to(s.statement::text, 'UTF8')), 'hex') AS hash
      INTO former
      FROM ledger.seals s WHERE s.organisation = in_organisation ORDER BY s.number DESC LIMIT 1;
    IF (said ->> 'former') <> coalesce(former.hash, repeat('0', 64)) THEN
        RETURN false;
    END IF;
    IF (said ->> 'number')::bigint <> coalesce(former.number, 0) + 1
        OR (said ->> 'first')::bigint <> coalesce(former.last_position, 0) + 1
        OR in_leaves IS DISTINCT FROM (
            SELECT string_agg(e.event_hash, ''::bytea ORDER BY e.position) FROM ledger.events e
             WHERE e.organisation = in_organisation
               AND e.position BETWEEN (said ->> 'first')::bigint AND (said ->> 'last')::bigint)
    THEN
        RAISE EXCEPTION 'this is not the next seal of %', in_organisation
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    INSERT INTO ledger.seals (organisation, number, statement, signature, leaves)
    VALUES (in_organisation, (said ->> 'number')::bigint, said, in_signature, in_leaves);
    INSERT INTO ledger.sealed_streams (organisation, bucket, stream_id, version, chain)
    SELECT in_organisation, t.bucket, t.stream, t.version, t.chain
      FROM unnest(stream_bucket, stream, stream_version, stream_chain) AS t (bucket, stream, version, chain)
    ON CONFLICT (organisation, bucket, stream_id) DO UPDATE
       SET version = excluded.version, chain = excluded.chain;
    INSERT INTO ledger.sealed_nodes (organisation, parent, prefix, hash)
    SELECT in_organisation, substr(n.prefix, 1, length(n.prefix) - 1), n.prefix, n.hash
      FROM unnest(node_prefix, node_hash) AS n (prefix, hash)
    ON CONFLICT (organisation, parent, prefix) DO UPDATE SET hash = excluded.hash;
    RETURN true;
END $$;
COMMENT ON FUNCTION ledger.add_seal IS
    'Adds the next seal of a ledger and moves what the one after it is made from; false, and nothing is written, if another process has sealed meanwhile. Refuses ranges that do not follow the former seal and leaves that are not the ledger''s hashes.';

REVOKE ALL ON FUNCTION ledger.add_seal FROM PUBLIC;
GRANT SELECT ON ledger.seals, ledger.sealed_streams, ledger.sealed_nodes TO crmledger_service;
GRANT EXECUTE ON FUNCTION ledger.add_seal TO crmledger_service;
