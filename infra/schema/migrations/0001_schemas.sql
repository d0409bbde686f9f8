-- Who may do what, and where: the roles, the schemas and who sees them. The service reads, and
-- writes through functions only.
--
-- The functions, one file each in ../functions, are put up right after this file, because the
-- triggers of the later ones need them. So the types of their parameters are created here, too.

-- Roles belong to the server: another database may create one at the same moment, or an
-- administrator may have created it beforehand for an owner who may not.
DO $$
DECLARE
    role name;
BEGIN
    FOREACH role IN ARRAY ARRAY[
        'crmledger_service', 'crmledger_projector', 'crmledger_deliverer',
        'crmledger_analyst', 'crmledger_analyst_personal']
    LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
                BEGIN
                    EXECUTE format('CREATE ROLE %I NOLOGIN', role);
                EXCEPTION WHEN duplicate_object OR unique_violation THEN
                    NULL;
                END;
            END IF;
            -- The owner of the schema may switch to it.
            EXECUTE format('GRANT %I TO %I', role, current_user);
        EXCEPTION
            WHEN unique_violation THEN
                NULL;
            WHEN insufficient_privilege THEN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
                    OR NOT pg_has_role(current_user, role, 'MEMBER')
                THEN
                    RAISE;
                END IF;
        END;
    END LOOP;
END $$;
-- Who may read in clear what belongs to a person may read what every analyst may.
DO $$
BEGIN
    GRANT crmledger_analyst TO crmledger_analyst_personal;
EXCEPTION WHEN insufficient_privilege OR unique_violation THEN
    IF NOT pg_has_role('crmledger_analyst_personal', 'crmledger_analyst', 'MEMBER') THEN
        RAISE;
    END IF;
END $$;

CREATE SCHEMA ledger;
COMMENT ON SCHEMA ledger IS
    'Events and what is decided together with them. Written by ledger.append only.';
GRANT USAGE ON SCHEMA ledger TO crmledger_service, crmledger_projector, crmledger_deliverer;

CREATE SCHEMA views;
COMMENT ON SCHEMA views IS
    'Current state of every entity, written together with its events; can be rebuilt from them.';
GRANT USAGE ON SCHEMA views TO crmledger_service;

CREATE SCHEMA projection;
COMMENT ON SCHEMA projection IS
    'How far the projections that follow the ledger have come, and what they could not take in.';
GRANT USAGE ON SCHEMA projection TO crmledger_service, crmledger_projector;

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS
    'What analysts query: no personal data; behind the ledger by the lag that '
    'projection.checkpoints shows.';
GRANT USAGE ON SCHEMA analytics TO crmledger_service, crmledger_projector, crmledger_analyst;

CREATE SCHEMA temporal;
COMMENT ON SCHEMA temporal IS
    'Every row that the views have ever had; behind the ledger by what projection.checkpoints '
    'says of the view "history".';
GRANT USAGE ON SCHEMA temporal TO crmledger_service;

CREATE SCHEMA past;
COMMENT ON SCHEMA past IS
    'The views as they were after the position that the setting crmledger.as_of_position says: '
    'SET crmledger.as_of_position = 120.';
GRANT USAGE ON SCHEMA past TO crmledger_service;

CREATE SCHEMA webhooks;
COMMENT ON SCHEMA webhooks IS
    'What subscribers have been told of the ledger. Written by `crmledger deliver`, and by '
    'operators through functions.';
GRANT USAGE ON SCHEMA webhooks TO crmledger_service, crmledger_deliverer;

CREATE SCHEMA delivery;
COMMENT ON SCHEMA delivery IS
    'What is on its way out: leases and tries, never outcomes and no personal data.';
GRANT USAGE ON SCHEMA delivery TO crmledger_service;

GRANT SELECT ON schema_migrations, schema_repeatables
    TO crmledger_service, crmledger_projector, crmledger_deliverer;

-- What ledger.append takes. Each event and each row names the command that it belongs to by its
-- number in the batch, from 1.

CREATE TYPE ledger.command AS (
    metadata text,
    effects  text,
    response bytea
);
COMMENT ON TYPE ledger.command IS 'One command of a batch.';
COMMENT ON COLUMN ledger.command.metadata IS 'JSON that all its events share: who, when, why.';
COMMENT ON COLUMN ledger.command.effects IS
    'JSON: what must be as it was, and what changes beside events and views, by kind.';
COMMENT ON COLUMN ledger.command.response IS
    'What is sent again to those who repeat its idempotency key; null without one.';

CREATE TYPE ledger.new_event AS (
    command integer,
    stream  uuid,
    version integer,
    topic   text,
    schema  smallint,
    subject uuid,
    payload text,
    mac     bytea
);
COMMENT ON TYPE ledger.new_event IS 'An event to be written (see ledger.events).';

CREATE TYPE ledger.view_row AS (
    command  integer,
    view     text,
    stream   uuid,
    version  integer,
    columns  text,
    document text,
    refs     text
);
COMMENT ON TYPE ledger.view_row IS
    'A row of a view to be written: the columns as JSON, the references parted by spaces. command '
    'is null where a rebuild writes it.';

-- What reads return as arrays. JSON is bytes to the service, as in the tables.

CREATE TYPE ledger.session_row AS (
    query      bigint,
    user_id    text,
    unit_id    text,
    expires_at bigint,
    released   boolean,
    ended      boolean,
    user_epoch integer,
    account    text,
    contact    text
);
COMMENT ON TYPE ledger.session_row IS
    'The session of a query, known by its number in the batch, from 1 (see views.sessions).';

CREATE TYPE ledger.response_row AS (
    query        bigint,
    key          text,
    request_hash text,
    response     bytea
);
COMMENT ON TYPE ledger.response_row IS
    'The response that is stored for the idempotency key of a query (see ledger.stored_responses).';

CREATE TYPE ledger.match_row AS (
    identifier bigint,
    id         text,
    retired    boolean
);
COMMENT ON TYPE ledger.match_row IS
    'An entity that an identifier names, known by its number among those of a batch, from 1.';

CREATE TYPE ledger.event_row AS (
    stream   uuid,
    version  integer,
    topic    text,
    schema   smallint,
    subject  uuid,
    payload  json,
    metadata json,
    mac      bytea
);
COMMENT ON TYPE ledger.event_row IS 'An event of an aggregate (see ledger.events).';

CREATE TYPE ledger.key_row AS (
    subject uuid,
    wrapped bytea
);
COMMENT ON TYPE ledger.key_row IS
    'A contact''s key (see ledger.personal_keys): empty if it was destroyed on purpose, null if '
    'there is none.';

CREATE TYPE ledger.document_row AS (
    ref      text,
    document json
);
COMMENT ON TYPE ledger.document_row IS
    'A document of a view by its id, or a compact object by its "kind/id".';
