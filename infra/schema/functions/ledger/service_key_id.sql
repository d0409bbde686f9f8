CREATE OR REPLACE FUNCTION ledger.service_key_id(
    in_verifier text
) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
           WHEN in_verifier LIKE '$%' THEN NULL
           WHEN in_verifier LIKE '%:%' THEN split_part(in_verifier, ':', 1)
           ELSE encode(substr(decode(in_verifier, 'base64'), 2, 8), 'hex') END
$$;

COMMENT ON FUNCTION ledger.service_key_id IS
    'The id of the service key with which a verifier was hashed or a secret encrypted; null for a '
    'hash without a key.';
REVOKE ALL ON FUNCTION ledger.service_key_id FROM PUBLIC;
