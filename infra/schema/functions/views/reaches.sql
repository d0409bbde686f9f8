CREATE OR REPLACE FUNCTION views.reaches(
    in_organisation text, in_ref text, in_customer text[]
) RETURNS boolean LANGUAGE sql STABLE AS $$
    WITH RECURSIVE up (ref) AS (
        SELECT in_ref
        UNION
        SELECT unnest(e.owners) FROM up, LATERAL (
            SELECT owners FROM views.entities e WHERE e.organisation = in_organisation
               AND e.ref = up.ref LIMIT 1) AS e
    )
    SELECT EXISTS (SELECT FROM up WHERE ref = ANY (in_customer))
$$;

COMMENT ON FUNCTION views.reaches IS
    'Whether an entity ("kind/id") is one of a customer''s, or belongs to one of them, directly '
    'or through its owners.';
REVOKE ALL ON FUNCTION views.reaches FROM PUBLIC;
GRANT EXECUTE ON FUNCTION views.reaches TO crmledger_service;
