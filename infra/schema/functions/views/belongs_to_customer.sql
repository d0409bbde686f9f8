CREATE OR REPLACE FUNCTION views.belongs_to_customer(
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

COMMENT ON FUNCTION views.belongs_to_customer IS
    'Whether an entity ("kind/id") is one of a customer''s, or belongs to one of them, directly '
    'or through its owners.';
REVOKE ALL ON FUNCTION views.belongs_to_customer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION views.belongs_to_customer TO crmledger_service;
