CREATE OR REPLACE FUNCTION ledger.refuse_forgotten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger.forgotten f
                WHERE f.organisation = NEW.organisation AND f.subject = NEW.subject) THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END $$;

COMMENT ON FUNCTION ledger.refuse_forgotten IS
    'Leaves out keys of people who were forgotten, as when an older copy of the keys is put back.';
REVOKE ALL ON FUNCTION ledger.refuse_forgotten FROM PUBLIC;
