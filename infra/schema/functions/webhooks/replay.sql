CREATE OR REPLACE FUNCTION webhooks.replay(
    in_organisation text, in_webhook text, in_from bigint
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before bytea;
BEGIN
    -- Appends do not matter here: positions below the head stay as they are.
    IF in_from < 1 OR in_from > 1 + coalesce((SELECT max(e.position) FROM ledger.events e
                                               WHERE e.organisation = in_organisation), 0) THEN
        RETURN false;
    END IF;
    SELECT e.event_hash INTO before FROM ledger.events e
     WHERE e.organisation = in_organisation AND e.position = in_from - 1;
    INSERT INTO webhooks.subscriptions AS s (organisation, webhook, position, position_hash)
    SELECT in_organisation, r.id, in_from - 1, coalesce(before, '')
      FROM views.records r
     WHERE r.organisation = in_organisation AND r.kind = 'webhook' AND r.id = in_webhook
       AND in_from - 1 <= coalesce((SELECT t.position FROM webhooks.subscriptions t
                                     WHERE t.organisation = in_organisation
                                       AND t.webhook = in_webhook), r.created)
    ON CONFLICT (organisation, webhook) DO UPDATE
       SET position = excluded.position, position_hash = excluded.position_hash, epoch = s.epoch + 1
     WHERE s.position >= excluded.position;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    DELETE FROM webhooks.pending p
     WHERE p.organisation = in_organisation AND p.webhook = in_webhook AND p.position >= in_from;
    RETURN true;
END $$;

COMMENT ON FUNCTION webhooks.replay IS
    'Has everything from a position on told again; false if that would pass over what was not '
    'told, or there is no such position or subscription.';
REVOKE ALL ON FUNCTION webhooks.replay FROM PUBLIC;
GRANT EXECUTE ON FUNCTION webhooks.replay TO crmledger_service;
