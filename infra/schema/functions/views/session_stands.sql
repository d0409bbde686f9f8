CREATE OR REPLACE FUNCTION views.session_stands(
    in_organisation text, in_access_token text, in_account text, in_contact text
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM views.access_tokens t
                    WHERE t.organisation = in_organisation AND t.id = in_access_token
                      AND t.life_cycle_state = 'EFFECTIVE')
       AND views.reaches(in_organisation, 'access_token/' || in_access_token,
                         ARRAY['accounts_receivable/' || in_account])
       AND EXISTS (SELECT FROM views.records r
                    WHERE r.organisation = in_organisation AND r.kind = 'accounts_receivable'
                      AND r.id = in_account
                      AND NOT r.retired AND r.document ->> 'account_owner' = in_contact)
$$;

COMMENT ON FUNCTION views.session_stands IS
    'Whether an access token still leads a customer to the account and contact of a session.';
REVOKE ALL ON FUNCTION views.session_stands FROM PUBLIC;
GRANT EXECUTE ON FUNCTION views.session_stands TO crmledger_service;
