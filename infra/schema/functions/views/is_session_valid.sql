CREATE OR REPLACE FUNCTION views.is_session_valid(
    in_organisation text, in_access_token text, in_account text, in_contact text
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM views.access_tokens t
                    WHERE t.organisation = in_organisation AND t.id = in_access_token
                      AND t.life_cycle_state = 'EFFECTIVE')
       AND views.belongs_to_customer(in_organisation, 'access_token/' || in_access_token,
                                     ARRAY['accounts_receivable/' || in_account])
       AND EXISTS (SELECT FROM views.records r
                    WHERE r.organisation = in_organisation AND r.kind = 'accounts_receivable'
                      AND r.id = in_account
                      AND NOT r.retired AND r.document ->> 'account_owner' = in_contact)
$$;

COMMENT ON FUNCTION views.is_session_valid IS
    'Whether an access token still leads a customer to the account and contact of a session.';
REVOKE ALL ON FUNCTION views.is_session_valid FROM PUBLIC;
GRANT EXECUTE ON FUNCTION views.is_session_valid TO crmledger_service;
