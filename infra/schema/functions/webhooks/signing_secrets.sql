CREATE OR REPLACE FUNCTION webhooks.signing_secrets(
    in_organisation text, in_webhook text
) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.verifier FROM ledger.secrets s
     WHERE s.organisation = in_organisation AND s.owner = 'webhook/' || in_webhook
       AND s.name IN ('secret', 'former_secret')
       AND (s.expires_at IS NULL OR s.expires_at > clock_timestamp())
     ORDER BY s.name DESC
$$;

COMMENT ON FUNCTION webhooks.signing_secrets IS
    'What a subscription is signed with, sealed: its secret, and for a while the one before.';
REVOKE ALL ON FUNCTION webhooks.signing_secrets FROM PUBLIC;
GRANT EXECUTE ON FUNCTION webhooks.signing_secrets TO crmledger_deliverer;
