-- The views: what show, list and get_* answer from. Each row is a pure function of one entity's
-- events, so all of it can be built again from the ledger.

CREATE TABLE views.entities (
    organisation text    NOT NULL,
    ref          text    NOT NULL,
    stream_id    uuid    NOT NULL,
    retired      boolean NOT NULL DEFAULT false,
    document     json,
    refs         text[]  NOT NULL DEFAULT '{}',
    owners       text[]  NOT NULL DEFAULT '{}',
    PRIMARY KEY (organisation, ref)
);
COMMENT ON TABLE views.entities IS
    'Every entity by "kind/id", with the compact object that others show of it.';
COMMENT ON COLUMN views.entities.refs IS 'The entities that the compact object shows in turn.';
COMMENT ON COLUMN views.entities.owners IS
    'The entities ("kind/id") whose it is. What reaches a customer through them is that '
    'customer''s.';

CREATE TABLE views.identifiers (
    organisation text    NOT NULL,
    kind         text    NOT NULL,
    field        text    NOT NULL,
    value        text    NOT NULL,
    id           text    NOT NULL,
    retired      boolean NOT NULL,
    PRIMARY KEY (organisation, kind, field, value, id)
);
CREATE INDEX identifiers_by_entity ON views.identifiers (organisation, kind, id);
COMMENT ON TABLE views.identifiers IS 'What callers may identify an entity by, besides its id.';

CREATE TABLE views.records (
    organisation text    NOT NULL,
    kind         text    NOT NULL,
    id           text    NOT NULL,
    created      bigint  NOT NULL,
    changed      bigint  NOT NULL,
    version      integer NOT NULL,
    directory    boolean NOT NULL,
    retired      boolean NOT NULL,
    document     json    NOT NULL,
    session_epoch integer NOT NULL,
    PRIMARY KEY (organisation, kind, id)
);
CREATE INDEX records_changed ON views.records (organisation, changed) WHERE directory;
COMMENT ON TABLE views.records IS
    'Registered records (reference entities) as they were registered.';
COMMENT ON COLUMN views.records.changed IS
    'Position of the last event; processes refresh their directory by it.';
COMMENT ON COLUMN views.records.session_epoch IS
    'How often all sessions begun with it were ended.';

CREATE TABLE views.sessions (
    organisation text    NOT NULL,
    id           text    NOT NULL,
    created      bigint  NOT NULL,
    version      integer NOT NULL,
    user_id      text    NOT NULL,
    unit_id      text    NOT NULL,
    expires_at   bigint  NOT NULL,
    released     boolean NOT NULL,
    access_token text,
    account      text,
    contact      text,
    user_epoch   integer NOT NULL,
    customer_epochs json,
    PRIMARY KEY (organisation, id)
);
CREATE INDEX sessions_created ON views.sessions (organisation, created);
COMMENT ON TABLE views.sessions IS
    'Sessions by token id (jti); expires_at in seconds since 1970 UTC.';
COMMENT ON COLUMN views.sessions.access_token IS
    'Of a consumer session: the access token that was shown.';
COMMENT ON COLUMN views.sessions.account IS
    'Of a consumer session: the accounts receivable to which the access token led.';
COMMENT ON COLUMN views.sessions.contact IS
    'Of a consumer session: the contact that owned the account.';
COMMENT ON COLUMN views.sessions.user_epoch IS
    'The session epoch of the user at the login; once it has passed, the session has ended.';
COMMENT ON COLUMN views.sessions.customer_epochs IS
    'Of a consumer session: those of the access token, its participant and the account, '
    'by "kind/id".';

CREATE TABLE views.contacts (
    organisation            text    NOT NULL,
    id                      text    NOT NULL,
    created                 bigint  NOT NULL,
    version                 integer NOT NULL,
    document                json    NOT NULL,
    refs                    text[]  NOT NULL,
    type                    text    NOT NULL,
    life_cycle_state        text    NOT NULL,
    id_number               text,
    passport_number         text,
    social_security_number  text,
    vat_registration_number text,
    emails                  text[]  NOT NULL,
    phones                  text[]  NOT NULL,
    photo                   text,
    uniqueness_values       json    NOT NULL,
    PRIMARY KEY (organisation, id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX contacts_id_number
    ON views.contacts (organisation, id_number, created) WHERE id_number IS NOT NULL;
CREATE INDEX contacts_passport_number
    ON views.contacts (organisation, passport_number, created) WHERE passport_number IS NOT NULL;
CREATE INDEX contacts_social_security_number
    ON views.contacts (organisation, social_security_number, created)
    WHERE social_security_number IS NOT NULL;
CREATE INDEX contacts_vat_registration_number
    ON views.contacts (organisation, vat_registration_number, created)
    WHERE vat_registration_number IS NOT NULL;
CREATE INDEX contacts_emails ON views.contacts USING gin (emails);
CREATE INDEX contacts_phones ON views.contacts USING gin (phones);
COMMENT ON TABLE views.contacts IS 'Contacts with the columns they are searched by.';
COMMENT ON COLUMN views.contacts.created IS 'Position of the first event: the order of creation.';
COMMENT ON COLUMN views.contacts.emails IS 'E-mail addresses in lower case.';
COMMENT ON COLUMN views.contacts.phones IS
    'Digits of phone numbers and full numbers, without extensions and the leading 00.';
COMMENT ON COLUMN views.contacts.photo IS 'Id of the profile photo.';
COMMENT ON COLUMN views.contacts.uniqueness_values IS
    'The values that a uniqueness rule can name, as they are compared.';

CREATE TABLE views.communications (
    organisation        text    NOT NULL,
    id                  text    NOT NULL,
    created             bigint  NOT NULL,
    version             integer NOT NULL,
    document            json    NOT NULL,
    refs                text[]  NOT NULL,
    code                text    NOT NULL,
    contact_information text    NOT NULL,
    category            text,
    direction           text    NOT NULL,
    media               text    NOT NULL,
    life_cycle_state    text    NOT NULL,
    PRIMARY KEY (organisation, id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX communications_contact
    ON views.communications (organisation, contact_information, created);
CREATE INDEX communications_category
    ON views.communications (organisation, category, created) WHERE category IS NOT NULL;
CREATE INDEX communications_code ON views.communications (organisation, code, created);
COMMENT ON TABLE views.communications IS 'Communications with the columns they are searched by.';

CREATE TABLE views.queue_entries (
    organisation        text    NOT NULL,
    id                  text    NOT NULL,
    created             bigint  NOT NULL,
    version             integer NOT NULL,
    document            json    NOT NULL,
    refs                text[]  NOT NULL,
    communication       text    NOT NULL,
    contact_information text    NOT NULL,
    media               text    NOT NULL,
    external_system     text,
    life_cycle_state    text    NOT NULL,
    PRIMARY KEY (organisation, id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX queue_entries_media
    ON views.queue_entries (organisation, media, life_cycle_state, created);
CREATE INDEX queue_entries_external_system
    ON views.queue_entries (organisation, external_system, life_cycle_state, created)
    WHERE external_system IS NOT NULL;
CREATE INDEX queue_entries_contact
    ON views.queue_entries (organisation, contact_information, created);
COMMENT ON TABLE views.queue_entries IS 'The sending queue with the columns it is searched by.';

CREATE TABLE views.access_tokens (
    organisation        text    NOT NULL,
    id                  text    NOT NULL,
    created             bigint  NOT NULL,
    version             integer NOT NULL,
    document            json    NOT NULL,
    refs                text[]  NOT NULL,
    classification      text,
    accounts_receivable text,
    rewards_participant text,
    associated          boolean NOT NULL,
    life_cycle_state    text    NOT NULL,
    session_epoch       integer NOT NULL,
    PRIMARY KEY (organisation, id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX access_tokens_accounts_receivable
    ON views.access_tokens (organisation, accounts_receivable, created)
    WHERE accounts_receivable IS NOT NULL;
CREATE INDEX access_tokens_rewards_participant
    ON views.access_tokens (organisation, rewards_participant, created)
    WHERE rewards_participant IS NOT NULL;
CREATE INDEX access_tokens_not_associated
    ON views.access_tokens (organisation, created) WHERE NOT associated;
COMMENT ON TABLE views.access_tokens IS 'Access tokens with the columns they are searched by.';
COMMENT ON COLUMN views.access_tokens.session_epoch IS
    'How often all sessions begun with it were ended.';
COMMENT ON COLUMN views.access_tokens.associated IS
    'Whether an account or participant of it is neither terminated nor retired.';

CREATE TABLE views.service_requests (
    organisation        text    NOT NULL,
    id                  text    NOT NULL,
    created             bigint  NOT NULL,
    version             integer NOT NULL,
    document            json    NOT NULL,
    refs                text[]  NOT NULL,
    accounts_receivable text    NOT NULL,
    contact_information text    NOT NULL,
    type                text    NOT NULL,
    category            text    NOT NULL,
    life_cycle_state    text    NOT NULL,
    pending_acceptance  boolean NOT NULL,
    due                 timestamp,
    PRIMARY KEY (organisation, id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX service_requests_accounts_receivable
    ON views.service_requests (organisation, accounts_receivable, created);
CREATE INDEX service_requests_contact
    ON views.service_requests (organisation, contact_information, created);
CREATE INDEX service_requests_type ON views.service_requests (organisation, type, created);
CREATE INDEX service_requests_state
    ON views.service_requests (organisation, life_cycle_state, created);
CREATE INDEX service_requests_state_by_type
    ON views.service_requests (organisation, type, life_cycle_state, created);
CREATE INDEX service_requests_state_by_category
    ON views.service_requests (organisation, category, life_cycle_state, created);
CREATE INDEX service_requests_pending_acceptance
    ON views.service_requests (organisation, life_cycle_state, created) WHERE pending_acceptance;
CREATE INDEX service_requests_pending_acceptance_by_type
    ON views.service_requests (organisation, type, life_cycle_state, created)
    WHERE pending_acceptance;
CREATE INDEX service_requests_due
    ON views.service_requests (organisation, due, created) WHERE due IS NOT NULL;
CREATE INDEX service_requests_due_by_type
    ON views.service_requests (organisation, type, due, created) WHERE due IS NOT NULL;
COMMENT ON TABLE views.service_requests IS
    'Service requests with the columns they are searched by.';
COMMENT ON COLUMN views.service_requests.contact_information IS 'The caller.';
COMMENT ON COLUMN views.service_requests.pending_acceptance IS
    'Whether the answer that began the present state still waits for the customer to accept it.';
COMMENT ON COLUMN views.service_requests.due IS
    'When it is expected to be completed, by the service''s wall clock; null once it is completed '
    'or cancelled.';

GRANT SELECT ON ALL TABLES IN SCHEMA views TO crmledger_service;
