CREATE OR REPLACE FUNCTION ledger.is_abandoned(
    in_organisation text, in_commands ledger.command[]
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- Nearly always there is none, and nothing needs to be parsed.
    IF NOT EXISTS (SELECT FROM ledger.abandoned_commands WHERE organisation = in_organisation) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM unnest(in_commands) AS c
                     JOIN ledger.abandoned_commands g
                       ON g.organisation = in_organisation
                      AND g.command = c.metadata::json ->> 'command');
END $$;

COMMENT ON FUNCTION ledger.is_abandoned IS
    'True if a command of a batch was abandoned by ledger.resolve_commands.';
REVOKE ALL ON FUNCTION ledger.is_abandoned FROM PUBLIC;
