CREATE OR REPLACE FUNCTION ledger.position_before(
    in_organisation text, in_moment timestamptz
) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low    bigint := 0;
    high   bigint;
    middle bigint;
BEGIN
    -- No event was recorded earlier than the one before it.
    SELECT coalesce(max(position), 0) INTO high FROM ledger.events
     WHERE organisation = in_organisation;
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF EXISTS (SELECT FROM ledger.events
                    WHERE organisation = in_organisation AND position = middle
                      AND recorded_at < in_moment) THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;

COMMENT ON FUNCTION ledger.position_before IS
    'The last position that was recorded before a moment; 0 if there is none.';
REVOKE ALL ON FUNCTION ledger.position_before FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.position_before TO crmledger_service;
