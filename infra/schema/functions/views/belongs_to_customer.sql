CREATE OR REPLACE FUNCTION views.belongs_to_customer(
    in_organisation text, in_ref text, in_customer text[]
) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
-- So many entities are looked up in any case, those of the customer where the way is shorter: how
-- long it takes must not tell whether there is something that is another customer's.
DECLARE
    least  CONSTANT integer := 4;
    reached   text[] := ARRAY[in_ref];
    place  integer := 1;
    former text[];
BEGIN
    WHILE place <= greatest(least, cardinality(reached)) LOOP
        SELECT e.owners INTO former FROM views.entities e
         WHERE e.organisation = in_organisation
           AND e.ref = coalesce(reached[place], in_customer[1 + place % cardinality(in_customer)]);
        IF reached[place] IS NOT NULL AND NOT former <@ reached THEN
            reached := reached || ARRAY(SELECT DISTINCT o FROM unnest(former) AS o
                                         WHERE o <> ALL (reached));
        END IF;
        place := place + 1;
    END LOOP;
    RETURN coalesce(reached && in_customer, false);
END $$;

COMMENT ON FUNCTION views.belongs_to_customer IS
    'Whether an entity ("kind/id") is one of a customer''s, or belongs to one of them, directly '
    'or through its owners. It costs the same for one that there is not, or null.';
REVOKE ALL ON FUNCTION views.belongs_to_customer FROM PUBLIC;
GRANT EXECUTE ON FUNCTION views.belongs_to_customer TO crmledger_service;
