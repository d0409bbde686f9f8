CREATE OR REPLACE FUNCTION views.matches_of_customer(
    in_organisation text, in_kind text, in_field text, in_value text, in_customer text[]
) RETURNS TABLE (id text, retired boolean) LANGUAGE plpgsql STABLE AS $$
DECLARE
    candidates integer := 0;
BEGIN
    FOR id, retired IN
        SELECT split_part(e.ref, '/', 2), e.retired FROM views.entities e
         WHERE in_field = 'id' AND e.organisation = in_organisation
           AND e.ref = in_kind || '/' || in_value
        UNION ALL
        (SELECT i.id, i.retired FROM views.identifiers i
          WHERE in_field <> 'id' AND i.organisation = in_organisation
            AND i.kind = in_kind AND i.field = in_field AND i.value = in_value
          ORDER BY i.retired)
    LOOP
        candidates := candidates + 1;
        IF views.belongs_to_customer(in_organisation, in_kind || '/' || id, in_customer) THEN
            RETURN NEXT;
        END IF;
    END LOOP;
    IF candidates = 0 THEN
        PERFORM views.belongs_to_customer(in_organisation, NULL, in_customer);
    END IF;
END $$;

COMMENT ON FUNCTION views.matches_of_customer IS
    'What an identifier means to a customer: of its own only, at the same cost whether there is '
    'something that is another customer''s.';
REVOKE ALL ON FUNCTION views.matches_of_customer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION views.matches_of_customer TO crmledger_service;
