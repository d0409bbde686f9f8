CREATE OR REPLACE FUNCTION ledger.streams_of_subject(
    in_organisation text, in_subject uuid
) RETURNS uuid[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(s.id::uuid ORDER BY s.id), '{}')
      FROM (SELECT c.id FROM views.communications c
             WHERE c.organisation = in_organisation
               AND c.contact_information = ledger.id_text(in_subject)
            UNION ALL
            SELECT q.id FROM views.queue_entries q
             WHERE q.organisation = in_organisation
               AND q.contact_information = ledger.id_text(in_subject)
            UNION ALL
            SELECT r.id FROM views.service_requests r
             WHERE r.organisation = in_organisation
               AND r.contact_information = ledger.id_text(in_subject)) AS s
$$;

COMMENT ON FUNCTION ledger.streams_of_subject IS
    'What else than the contact itself has events that its key encrypts.';
REVOKE ALL ON FUNCTION ledger.streams_of_subject FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.streams_of_subject TO crmledger_service;
