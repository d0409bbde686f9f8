-- Ways for auditors to find events: by who acted, by the request and the chain of calls they came of, by time.

-- Beside the ledger, and filled when somebody asks: indexes on the events themselves would cost every append more
-- than the event does.
CREATE TABLE ledger.origins (
    organisation text   NOT NULL,
    position     bigint NOT NULL,
    actor        text,
    request      text,
    correlation  text,
    PRIMARY KEY (organisation, position)
);
CREATE INDEX origins_by_actor ON ledger.origins (organisation, actor, position) WHERE actor IS NOT NULL;
CREATE INDEX origins_by_request ON ledger.origins (organisation, request, position) WHERE request IS NOT NULL;
CREATE INDEX origins_by_correlation ON ledger.origins (organisation, correlation, position) WHERE correlation IS NOT NULL;
COMMENT ON TABLE ledger.origins IS 'Who and what events came of, copied from their metadata to be found by it; behind the ledger until somebody asks. Can be emptied at any time.';
GRANT SELECT ON ledger.origins TO crmledger_service;

CREATE FUNCTION ledger.note_origins(in_organisation text, in_upto bigint, in_most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    noted bigint;
BEGIN
    -- Positions are dense and noted in their order, so the last one says that all before it are.
    SELECT coalesce(max(o.position), 0) INTO noted FROM ledger.origins o WHERE o.organisation = in_organisation;
    INSERT INTO ledger.origins (organisation, position, actor, request, correlation)
    SELECT e.organisation, e.position, e.metadata ->> 'user', e.metadata ->> 'request', e.metadata ->> 'correlation'
      FROM ledger.events e
     WHERE e.organisation = in_organisation AND e.position > noted AND e.position <= least(in_upto, noted + in_most)
    ON CONFLICT DO NOTHING;
    RETURN greatest(noted, least(in_upto, noted + in_most));
END $$;
COMMENT ON FUNCTION ledger.note_origins IS 'Notes the origins of so many events at most, up to a position; up to which one they are noted then.';

CREATE FUNCTION ledger.last_before(in_organisation text, in_moment timestamptz) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    low    bigint := 0;
    high   bigint;
    middle bigint;
BEGIN
    -- No event was recorded earlier than the one before it.
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
REVOKE ALL ON FUNCTION ledger.last_before, ledger.note_origins FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ledger.last_before, ledger.note_origins TO crmledger_service;
