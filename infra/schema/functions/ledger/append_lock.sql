CREATE OR REPLACE FUNCTION ledger.append_lock(
    in_organisation text
) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    $$ SELECT hashtextextended('crmledger.append/' || in_organisation, 0) $$;

COMMENT ON FUNCTION ledger.append_lock IS
    'The advisory lock that orders the appends of one organisation.';
REVOKE ALL ON FUNCTION ledger.append_lock FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.append_lock TO crmledger_service;
