CREATE OR REPLACE FUNCTION ledger.write_contacts(
    in_organisation text, in_rows ledger.view_row[]
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO contacts (organisation, id, created, version, document, refs, type,
           life_cycle_state, id_number, passport_number, social_security_number,
           vat_registration_number, emails, phones, photo, uniqueness_values)
    SELECT in_organisation, r.id,
           (SELECT e.position FROM ledger.events e
             WHERE e.organisation = in_organisation AND e.stream_id = w.stream AND e.version = 1),
           w.version, w.document::json, string_to_array(w.refs, ' '),
           r.type, r.life_cycle_state, r.id_number, r.passport_number, r.social_security_number,
           r.vat_registration_number, r.emails, r.phones, r.photo, r.uniqueness_values
      FROM unnest(in_rows) AS w,
           json_to_record(w.columns::json)
               AS r (id text, type text, life_cycle_state text, id_number text,
                     passport_number text, social_security_number text,
                     vat_registration_number text, emails text[], phones text[],
                     photo text, uniqueness_values json)
     WHERE w.view = 'contacts'
    ON CONFLICT (organisation, id) DO UPDATE
       SET version = excluded.version, document = excluded.document, refs = excluded.refs,
           life_cycle_state = excluded.life_cycle_state, id_number = excluded.id_number,
           passport_number = excluded.passport_number,
           social_security_number = excluded.social_security_number,
           vat_registration_number = excluded.vat_registration_number, emails = excluded.emails,
           phones = excluded.phones, photo = excluded.photo,
           uniqueness_values = excluded.uniqueness_values;
END $$;

COMMENT ON FUNCTION ledger.write_contacts IS 'Contacts.';
REVOKE ALL ON FUNCTION ledger.write_contacts FROM PUBLIC;
