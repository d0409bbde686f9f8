CREATE OR REPLACE FUNCTION ledger.resolve_commands(
    in_organisation text, in_commands text[], in_streams uuid[], in_versions integer[],
    in_keys text[]
) RETURNS boolean[] LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    written boolean[];
BEGIN
    -- Whoever holds the lock is still deciding; whoever takes it later finds the commands
    -- abandoned.
    PERFORM pg_advisory_xact_lock(ledger.append_lock(in_organisation));
    SELECT array_agg(
               CASE WHEN c.stream IS NULL
                    THEN EXISTS (SELECT FROM ledger.stored_responses a
                                  WHERE a.organisation = in_organisation AND a.key = c.key
                                    AND a.command = c.command)
                    ELSE EXISTS (SELECT FROM ledger.events e
                                  WHERE e.organisation = in_organisation AND e.stream_id = c.stream
                                    AND e.version = c.version
                                    AND e.metadata ->> 'command' = c.command)
               END ORDER BY c.n)
      INTO written
      FROM unnest(in_commands, in_streams, in_versions, in_keys)
               WITH ORDINALITY AS c (command, stream, version, key, n);
    INSERT INTO ledger.abandoned_commands (organisation, command, recorded_at)
    SELECT in_organisation, c.command, clock_timestamp()
      FROM unnest(in_commands, written) AS c (command, written) WHERE NOT c.written
    ON CONFLICT DO NOTHING;
    RETURN written;
END $$;

COMMENT ON FUNCTION ledger.resolve_commands IS
    'Which commands whose answer was lost have been written, one for each; the others never will '
    'be. A command is found by one of its events (stream and version), or by its idempotency key '
    'if it has none.';
REVOKE ALL ON FUNCTION ledger.resolve_commands FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.resolve_commands TO crmledger_service;
