CREATE OR REPLACE FUNCTION ledger.write_views(
    in_organisation text,
    view_name text[], view_stream uuid[], view_version integer[],
    view_columns text[], view_document text[], view_refs text[]
) RETURNS void LANGUAGE plpgsql AS $$
-- Table names are not qualified in what is called: append writes the live views, a rebuild those
-- beside them. Rows of others are looked up one by one, by their key (LATERAL with a limit, or a
-- subquery): a join may be planned as a scan of all that the organisation has.
BEGIN
    IF nullif(current_setting('crmledger.projection_version', true), '')::bigint
       < (SELECT sum(v.version) FROM ledger.view_versions v WHERE starts_with(v.view, 'views.'))
    THEN
        RAISE EXCEPTION 'the views were written by a newer program'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF 'entities' = ANY (view_name) THEN
        PERFORM ledger.write_entities(in_organisation, view_name, view_stream, view_version,
                                      view_columns, view_document, view_refs);
    END IF;
    IF 'records' = ANY (view_name) THEN
        PERFORM ledger.write_records(in_organisation, view_name, view_stream, view_version,
                                     view_columns, view_document, view_refs);
    END IF;
    IF 'sessions' = ANY (view_name) THEN
        PERFORM ledger.write_sessions(in_organisation, view_name, view_stream, view_version,
                                      view_columns, view_document, view_refs);
    END IF;
    IF 'contacts' = ANY (view_name) THEN
        PERFORM ledger.write_contacts(in_organisation, view_name, view_stream, view_version,
                                      view_columns, view_document, view_refs);
    END IF;
    IF 'communications' = ANY (view_name) THEN
        PERFORM ledger.write_communications(in_organisation, view_name, view_stream, view_version,
                                            view_columns, view_document, view_refs);
    END IF;
    IF 'queue_entries' = ANY (view_name) THEN
        PERFORM ledger.write_queue_entries(in_organisation, view_name, view_stream, view_version,
                                           view_columns, view_document, view_refs);
    END IF;
    IF 'access_tokens' = ANY (view_name) THEN
        PERFORM ledger.write_access_tokens(in_organisation, view_name, view_stream, view_version,
                                           view_columns, view_document, view_refs);
    END IF;
    IF 'service_requests' = ANY (view_name) THEN
        PERFORM ledger.write_service_requests(in_organisation, view_name, view_stream, view_version,
                                              view_columns, view_document, view_refs);
    END IF;
END $$;

COMMENT ON FUNCTION ledger.write_views IS
    'Writes rows of the views in the search path: one element per row in each array.';
REVOKE ALL ON FUNCTION ledger.write_views FROM PUBLIC;
