CREATE OR REPLACE FUNCTION ledger.count_tokens(
    in_organisation text, in_column text, in_id text
) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT CASE in_column
           WHEN 'accounts_receivable' THEN
               (SELECT count(*) FROM views.access_tokens v
                 WHERE v.organisation = in_organisation AND v.accounts_receivable = in_id)
           ELSE (SELECT count(*) FROM views.access_tokens v
                  WHERE v.organisation = in_organisation AND v.rewards_participant = in_id) END
$$;

COMMENT ON FUNCTION ledger.count_tokens IS
    'How many access tokens an account or rewards participant has; in_column says which of the '
    'two it is.';
REVOKE ALL ON FUNCTION ledger.count_tokens FROM PUBLIC;
