CREATE OR REPLACE FUNCTION ledger.add_seal(
    in_organisation text, in_statement text, in_signature bytea, in_leaves bytea,
    stream_bucket bytea[], stream uuid[], stream_version integer[], stream_chain bytea[],
    node_prefix bytea[], node_hash bytea[]
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said   constant json := in_statement::json;
    former record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('crmledger.seal/' || in_organisation, 0));
    SELECT s.number, s.last_position,
           encode(sha256(convert_to(s.statement::text, 'UTF8')), 'hex') AS hash
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
    INSERT INTO ledger.seal_tree_heads (organisation, bucket, stream_id, version, chain)
    SELECT in_organisation, t.bucket, t.stream, t.version, t.chain
      FROM unnest(stream_bucket, stream, stream_version, stream_chain)
          AS t (bucket, stream, version, chain)
    ON CONFLICT (organisation, bucket, stream_id) DO UPDATE
       SET version = excluded.version, chain = excluded.chain;
    INSERT INTO ledger.seal_tree_nodes (organisation, parent, prefix, hash)
    SELECT in_organisation, substr(n.prefix, 1, length(n.prefix) - 1), n.prefix, n.hash
      FROM unnest(node_prefix, node_hash) AS n (prefix, hash)
    ON CONFLICT (organisation, parent, prefix) DO UPDATE SET hash = excluded.hash;
    RETURN true;
END $$;

COMMENT ON FUNCTION ledger.add_seal IS
    'Adds the next seal of a ledger and moves what the one after it is made from; false, and '
    'nothing is written, if another process has sealed meanwhile. Refuses ranges that do not '
    'follow the former seal and leaves that are not the ledger''s hashes.';
REVOKE ALL ON FUNCTION ledger.add_seal FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.add_seal TO crmledger_service;
