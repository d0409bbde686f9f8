-- Service requests, and one branch more in the function that writes the views.

CREATE TABLE views.service_requests (
    organisation        text      NOT NULL,
    id                  text      NOT NULL,
    created             bigint    NOT NULL,
    version             integer   NOT NULL,
    document            json      NOT NULL,
    refs                text[]    NOT NULL,
    accounts_receivable text      NOT NULL,
    contact_information text      NOT NULL,
    type                text      NOT NULL,
    category            text      NOT NULL,
    life_cycle_state    text      NOT NULL,
    pending_acceptance  boolean   NOT NULL,
    due                 timestamp,
    PRIMARY KEY (organisation, id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX service_requests_accounts_receivable ON views.service_requests (organisation, accounts_receivable, created);
CREATE INDEX service_requests_contact ON views.service_requests (organisation, contact_information, created);
CREATE INDEX service_requests_type ON views.service_requests (organisation, type, created);
CREATE INDEX service_requests_state ON views.service_requests (organisation, life_cycle_state, created);
CREATE INDEX service_requests_state_by_type ON views.service_requests (organisation, type, life_cycle_state, created);
CREATE INDEX service_requests_state_by_category ON views.service_requests (organisation, category, life_cycle_state, created);
CREATE INDEX service_requests_pending_acceptance ON views.service_requests (organisation, life_cycle_state, created) WHERE pending_acceptance;
CREATE INDEX service_requests_pending_acceptance_by_type ON views.service_requests (organisation, type, life_cycle_state, created) WHERE pending_acceptance;
CREATE INDEX service_requests_due ON views.service_requests (organisation, due, created) WHERE due IS NOT NULL;
CREATE INDEX service_requests_due_by_type ON views.service_requests (organisation, type, due, created) WHERE due IS NOT NULL;
COMMENT ON TABLE views.service_requests IS 'Service requests with the columns they are searched by.';
COMMENT ON COLUMN views.service_requests.contact_information IS 'The caller.';
COMMENT ON COLUMN views.service_requests.pending_acceptance IS 'Whether the answer that began the present state still waits for the customer to accept it.';
COMMENT ON COLUMN views.service_requests.due IS 'When it is expected to be completed, by the service''s wall clock; null once it is completed or cancelled.';
GRANT SELECT ON views.service_requests TO crmledger_service;

CREATE FUNCTION ledger.write_service_requests(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO service_requests (organisation, id, created, version, document, refs, accounts_receivable,
           contact_information, type, category, life_cycle_state, pending_acceptance, due)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, w.document::json, string_to_array(w.refs, ' '),
           r.accounts_receivable, r.contact_information, r.type, r.category, r.life_cycle_state,
           r.pending_acceptance, r.due
      FROM unnest(view_name, view_stream, view_version, view_columns, view_document, view_refs)
               AS w (name, stream, version, columns, document, refs),
           json_to_record(w.columns::json) AS r (id text, accounts_receivable text, contact_information text,
               type text, category text, life_cycle_state text, pending_acceptance boolean, due timestamp)
     WHERE w.name = 'service_requests'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, document = excluded.document, refs = excluded.refs,
           category = excluded.category, life_cycle_state = excluded.life_cycle_state,
           pending_acceptance = excluded.pending_acceptance, due = excluded.due;
END $$;
COMMENT ON FUNCTION ledger.write_service_requests IS 'Service requests.';

CREATE OR REPLACE FUNCTION ledger.write_views(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
-- Table names are not qualified in what is called: append writes the live views, a rebuild those beside them.
-- Rows of others are looked up one by one, by their key (LATERAL with a limit, or a subquery): a join may be
-- planned as a scan of all that the organisation has.
BEGIN
    IF 'entities' = ANY (view_name) THEN
        PERFORM ledger.write_entities(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'records' = ANY (view_name) THEN
        PERFORM ledger.write_records(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'sessions' = ANY (view_name) THEN
        PERFORM ledger.write_sessions(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'contacts' = ANY (view_name) THEN
        PERFORM ledger.write_contacts(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'communications' = ANY (view_name) THEN
        PERFORM ledger.write_communications(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'queue_entries' = ANY (view_name) THEN
        PERFORM ledger.write_queue_entries(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'access_tokens' = ANY (view_name) THEN
        PERFORM ledger.write_access_tokens(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
    IF 'service_requests' = ANY (view_name) THEN
        PERFORM ledger.write_service_requests(in_organisation, view_name, view_stream, view_version, view_columns, view_document, view_refs);
    END IF;
END $$;

INSERT INTO ledger.view_versions (view, version) VALUES ('views.service_requests', 1);

REVOKE ALL ON FUNCTION ledger.write_service_requests FROM PUBLIC;
