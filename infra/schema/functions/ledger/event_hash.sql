CREATE OR REPLACE FUNCTION ledger.event_hash(
    organisation text, "position" bigint, stream_id uuid, version integer, topic text,
    schema_version smallint, subject uuid, payload text, metadata text, recorded_at timestamptz
) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(convert_to(
        'crmledger.event.1' || E'\n' || organisation || E'\n' || "position" || E'\n'
        || stream_id || E'\n' || version || E'\n' || topic || E'\n' || schema_version || E'\n'
        || coalesce(subject::text, '') || E'\n'
        || (extract(epoch FROM recorded_at) * 1000000)::bigint || E'\n'
        || octet_length(metadata) || E'\n' || metadata || E'\n' || payload, 'UTF8'))
$$;

COMMENT ON FUNCTION ledger.event_hash IS
    'The hash of one event: one line per column, the times in microseconds since 1970 UTC, the '
    'metadata with its length in bytes before it, the payload last. It depends on no other event.';
REVOKE ALL ON FUNCTION ledger.event_hash FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.event_hash TO crmledger_service;
