CREATE OR REPLACE FUNCTION ledger.write_views(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
-- Table names are not qualified in what is called: append writes the live views, a rebuild those
-- beside them. Rows of others are looked up one by one, by their key (LATERAL with a limit, or a
-- subquery): a join may be planned as a scan of all that the organisation has.
DECLARE
    written text[] := ARRAY(SELECT DISTINCT r.view FROM unnest(in_rows) AS r);
BEGIN
    IF nullif(current_setting('crmledger.projection_version', true), '')::bigint
       < (SELECT sum(v.version) FROM ledger.view_versions v WHERE starts_with(v.view, 'views.'))
    THEN
        RAISE EXCEPTION 'the views were written by a newer program'
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF 'entities' = ANY (written) THEN
        PERFORM ledger.write_entities(in_organisation, in_rows);
    END IF;
    IF 'records' = ANY (written) THEN
        PERFORM ledger.write_records(in_organisation, in_rows);
    END IF;
    IF 'sessions' = ANY (written) THEN
        PERFORM ledger.write_sessions(in_organisation, in_rows);
    END IF;
    IF 'contacts' = ANY (written) THEN
        PERFORM ledger.write_contacts(in_organisation, in_rows);
    END IF;
    IF 'communications' = ANY (written) THEN
        PERFORM ledger.write_communications(in_organisation, in_rows);
    END IF;
    IF 'queue_entries' = ANY (written) THEN
        PERFORM ledger.write_queue_entries(in_organisation, in_rows);
    END IF;
    IF 'access_tokens' = ANY (written) THEN
        PERFORM ledger.write_access_tokens(in_organisation, in_rows);
    END IF;
    IF 'service_requests' = ANY (written) THEN
        PERFORM ledger.write_service_requests(in_organisation, in_rows);
    END IF;
END $$;

COMMENT ON FUNCTION ledger.write_views IS 'Writes rows of the views in the search path.';
REVOKE ALL ON FUNCTION ledger.write_views FROM PUBLIC;
