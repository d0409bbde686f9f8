CREATE OR REPLACE FUNCTION ledger.id_text(in_id uuid) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT upper(replace(in_id::text, '-', '')) $$;

COMMENT ON FUNCTION ledger.id_text IS 'An id as callers see it: 32 upper-case hex digits.';
REVOKE ALL ON FUNCTION ledger.id_text FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.id_text TO crmledger_service;
