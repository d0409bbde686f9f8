CREATE OR REPLACE FUNCTION webhooks.resume(
    in_organisation text, in_webhook text
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    UPDATE webhooks.subscriptions
       SET state = 'ACTIVE', state_at = clock_timestamp(), epoch = epoch + 1
     WHERE organisation = in_organisation AND webhook = in_webhook;
    UPDATE webhooks.pending
       SET tries = 0, first_try_at = NULL, next_at = clock_timestamp()
     WHERE organisation = in_organisation AND webhook = in_webhook;
$$;

COMMENT ON FUNCTION webhooks.resume IS
    'Has what waits sent at once, and counts the tries anew; ends PAUSED and GONE.';
REVOKE ALL ON FUNCTION webhooks.resume FROM PUBLIC;
GRANT EXECUTE ON FUNCTION webhooks.resume TO crmledger_service;
