CREATE OR REPLACE FUNCTION views.has_epoch_passed(
    in_organisation text, in_epochs json
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM json_each_text(in_epochs) AS w (ref, epoch)
         WHERE w.epoch::integer IS DISTINCT FROM CASE split_part(w.ref, '/', 1)
               WHEN 'access_token' THEN
                   (SELECT t.session_epoch FROM views.access_tokens t
                     WHERE t.organisation = in_organisation AND t.id = split_part(w.ref, '/', 2))
               ELSE
                   (SELECT r.session_epoch FROM views.records r
                     WHERE r.organisation = in_organisation AND r.kind = split_part(w.ref, '/', 1)
                       AND r.id = split_part(w.ref, '/', 2))
               END)
$$;

COMMENT ON FUNCTION views.has_epoch_passed IS
    'Whether the session epoch of one of these entities ("kind/id") is no longer the given one.';
REVOKE ALL ON FUNCTION views.has_epoch_passed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION views.has_epoch_passed TO crmledger_service;
