CREATE OR REPLACE FUNCTION ledger.rebuild_claims(
    in_organisation text, in_type text, in_rule text[]
) RETURNS void LANGUAGE sql AS $$
    DELETE FROM ledger.claims
     WHERE organisation = in_organisation
       AND starts_with(claim, 'contact_information:' || in_type || E'\x1e');
    -- Contacts that are equal by the new rule stay, and keep others out as long as one of them is
    -- left.
    INSERT INTO ledger.claims (organisation, claim, stream_id)
    SELECT in_organisation,
           'contact_information:' || in_type || E'\x1e'
               || encode(sha256(convert_to(array_to_string(in_rule || i.values, E'\x1e'),
                                           'UTF8')), 'hex'),
           c.id::uuid
      FROM views.contacts c,
           LATERAL (SELECT array_agg(c.uniqueness_values ->> r.field ORDER BY r.n) AS values
                      FROM unnest(in_rule) WITH ORDINALITY AS r (field, n)) AS i
     WHERE c.organisation = in_organisation AND c.type = in_type
       AND cardinality(in_rule) > 0 AND array_position(i.values, NULL::text) IS NULL
$$;

COMMENT ON FUNCTION ledger.rebuild_claims IS
    'Claims the uniqueness of all contacts of a type anew, when an organisation changes its rule '
    '(in_rule in alphabetical order).';
REVOKE ALL ON FUNCTION ledger.rebuild_claims FROM PUBLIC;
