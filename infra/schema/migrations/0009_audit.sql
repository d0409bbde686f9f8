-- Ways for auditors to find facts: by what they say, by who acted, by the request and the chain of
-- calls they came of, by time.

CREATE INDEX events_by_topic ON ledger.events (organisation, topic, position);
CREATE INDEX events_by_actor ON ledger.events (organisation, (metadata ->> 'user'), position)
    WHERE metadata ->> 'user' IS NOT NULL;
CREATE INDEX events_by_request ON ledger.events (organisation, (metadata ->> 'request'), position)
    WHERE metadata ->> 'request' IS NOT NULL;
CREATE INDEX events_by_cause ON ledger.events (organisation, (metadata ->> 'correlation'), position)
    WHERE metadata ->> 'correlation' <> metadata ->> 'request';

CREATE FUNCTION ledger.last_before(in_organisation text, in_moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low    bigint := 0;
    high   bigint;
    middle bigint;
BEGIN
    -- No fact was recorded earlier than the one before it.
    SELECT coalesce(max(position), 0) INTO high FROM ledger.events WHERE organisation = in_organisation;
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF EXISTS (SELECT FROM ledger.events
                    WHERE organisation = in_organisation AND position = middle AND recorded_at < in_moment) THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;
COMMENT ON FUNCTION ledger.last_before IS 'The last position that was recorded before a moment; 0 if there is none.';
REVOKE ALL ON FUNCTION ledger.last_before FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.last_before TO crmledger_service;
