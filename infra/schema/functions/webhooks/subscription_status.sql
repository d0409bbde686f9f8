CREATE OR REPLACE FUNCTION webhooks.subscription_status(
    in_organisation text DEFAULT NULL
) RETURNS TABLE (
    organisation text, webhook text, document json, retired boolean, "position" bigint,
    epoch integer, state text, state_at timestamptz, delivered_at timestamptz,
    head bigint, pending bigint, due bigint, failing_since timestamptz,
    lag_positions bigint, lag_seconds double precision
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.organisation, r.id, r.document, r.retired, c.position, coalesce(s.epoch, 0),
           coalesce(s.state, 'ACTIVE'), s.state_at, s.delivered_at, h.head, p.pending, p.due,
           p.failing_since,
           h.head - c.position
               + CASE WHEN p.oldest IS NULL THEN 0 ELSE c.position - p.oldest + 1 END,
           coalesce((SELECT extract(epoch FROM clock_timestamp() - e.recorded_at)::float8
                       FROM ledger.events e
                      WHERE e.organisation = r.organisation
                        AND e.position = coalesce(p.oldest, c.position + 1)), 0)
      FROM views.records r
      LEFT JOIN webhooks.subscriptions s ON s.organisation = r.organisation AND s.webhook = r.id,
           LATERAL (SELECT coalesce(s.position, r.created) AS position) AS c,
           LATERAL (SELECT coalesce(max(e.position), 0) AS head FROM ledger.events e
                     WHERE e.organisation = r.organisation) AS h,
           LATERAL (SELECT count(*) AS pending,
                           count(*) FILTER (WHERE w.next_at <= clock_timestamp()) AS due,
                           min(w.position) AS oldest, min(w.first_try_at) AS failing_since
                      FROM webhooks.pending w
                     WHERE w.organisation = r.organisation AND w.webhook = r.id) AS p
     WHERE r.kind = 'webhook' AND (in_organisation IS NULL OR r.organisation = in_organisation)
     ORDER BY r.organisation, r.id
$$;

COMMENT ON FUNCTION webhooks.subscription_status IS
    'How every subscription stands, of one organisation or of all. It lags by the first event '
    'that is neither acknowledged nor passed over; it begins after its own registration.';
REVOKE ALL ON FUNCTION webhooks.subscription_status FROM PUBLIC;
GRANT EXECUTE ON FUNCTION webhooks.subscription_status TO crmledger_service, crmledger_deliverer;
