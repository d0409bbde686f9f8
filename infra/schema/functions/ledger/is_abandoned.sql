CREATE OR REPLACE FUNCTION ledger.is_abandoned(
    in_organisation text, in_metadata text[]
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- Nearly always there is none, and nothing needs to be parsed.
    IF NOT EXISTS (SELECT FROM ledger.abandoned_commands WHERE organisation = in_organisation) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM unnest(in_metadata) AS m (metadata)
                     JOIN ledger.abandoned_commands g
                       ON g.organisation = in_organisation
                      AND g.command = m.metadata::json ->> 'command');
END $$;

COMMENT ON FUNCTION ledger.is_abandoned IS
    'Whether a batch, known by the metadata of its commands, was abandoned by '
    'ledger.resolve_commands.';
REVOKE ALL ON FUNCTION ledger.is_abandoned FROM PUBLIC;
