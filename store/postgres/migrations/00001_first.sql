-- +goose Up
-- Times are microseconds since 1970 in UTC, 0 where there is none; durations
-- are microseconds too. Texts are compared byte by byte, as the contract asks.

CREATE TABLE meta (
    key   text COLLATE "C" PRIMARY KEY,
    value text NOT NULL
);
-- The oldest program that can use the store, by the latest schema that it knows.
-- Migrations that take away what older programs use, or ask for more than they
-- write, raise it to their own number.
INSERT INTO meta (key, value) VALUES ('oldest_program', '1');

-- The incarnations that the store had before renewals.
CREATE TABLE former_lives (
    incarnation text COLLATE "C" PRIMARY KEY
);

-- One row for each shard of the feed: its newest change, and how many of its
-- transactions count for the store's position. A transaction writes its own as its
-- last statement and holds the row until it commits, so the numbers of a shard
-- follow the order of its commits, without gaps.
CREATE TABLE position (
    shard   integer PRIMARY KEY,
    n       bigint NOT NULL,
    stamp   bigint NOT NULL,
    counted bigint NOT NULL
) WITH (fillfactor = 50);

-- What transactions changed, for the followers of other processes.
CREATE TABLE changes (
    shard integer NOT NULL,
    n     bigint NOT NULL,
    stamp bigint NOT NULL,
    at    bigint NOT NULL,
    told  text NOT NULL,
    PRIMARY KEY (shard, n)
);
CREATE INDEX changes_aging ON changes (at);
CREATE INDEX changes_stamped ON changes (stamp);

CREATE TABLE users (
    id           text COLLATE "C" PRIMARY KEY,
    name         text COLLATE "C" NOT NULL UNIQUE,
    display_name text NOT NULL,
    email        text COLLATE "C" NOT NULL,
    groups       text NOT NULL,
    status       text NOT NULL,
    new_password boolean NOT NULL,
    language     text NOT NULL,
    zone         text NOT NULL,
    created      bigint NOT NULL,
    version      bigint NOT NULL
);
CREATE UNIQUE INDEX users_email ON users (email) WHERE email <> '';
CREATE INDEX users_status ON users (status);

CREATE TABLE credentials (
    id           text COLLATE "C" PRIMARY KEY,
    user_id      text COLLATE "C" NOT NULL REFERENCES users (id),
    kind         text NOT NULL,
    name         text NOT NULL,
    secret       bytea NOT NULL,
    state        text NOT NULL,
    created      bigint NOT NULL,
    last_used    bigint NOT NULL,
    last_used_on text NOT NULL,
    held_until   bigint NOT NULL,
    realm        text COLLATE "C" NOT NULL,
    holder       text NOT NULL,
    version      bigint NOT NULL
);
CREATE INDEX credentials_of ON credentials (user_id, created, id);

CREATE TABLE sign_ons (
    id             text COLLATE "C" PRIMARY KEY,
    user_id        text COLLATE "C" NOT NULL REFERENCES users (id),
    started        bigint NOT NULL,
    expires        bigint NOT NULL,
    idle           bigint NOT NULL,
    last_seen      bigint NOT NULL,
    ended          bigint NOT NULL,
    end_reason     text NOT NULL,
    proofs         text NOT NULL,
    portal_session text NOT NULL,
    address        text NOT NULL,
    user_agent     text NOT NULL,
    shared         boolean NOT NULL,
    version        bigint NOT NULL
) WITH (fillfactor = 85);
CREATE INDEX sign_ons_of ON sign_ons (user_id, started, id);
CREATE INDEX sign_ons_newest ON sign_ons (started, id) WHERE ended = 0;
CREATE INDEX sign_ons_expiring ON sign_ons (expires);
CREATE INDEX sign_ons_over ON sign_ons (expires) WHERE ended = 0;
CREATE INDEX sign_ons_ended ON sign_ons (ended) WHERE ended <> 0;

CREATE TABLE records (
    namespace text COLLATE "C" NOT NULL,
    key       text COLLATE "C" NOT NULL,
    owner     text COLLATE "C" NOT NULL,
    value     bytea NOT NULL,
    expires   bigint NOT NULL,
    version   bigint NOT NULL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX records_expiring ON records (expires);
CREATE INDEX records_of ON records (owner, namespace) WHERE owner <> '';

CREATE TABLE attempts (
    scope    text COLLATE "C" NOT NULL,
    key      text COLLATE "C" NOT NULL,
    failures bigint NOT NULL,
    first    bigint NOT NULL,
    last     bigint NOT NULL,
    PRIMARY KEY (scope, key)
) WITH (fillfactor = 85);
CREATE INDEX attempts_newest ON attempts (scope, last DESC, key);
CREATE INDEX attempts_aging ON attempts (last);

CREATE TABLE browsers (
    id             text COLLATE "C" PRIMARY KEY,
    user_id        text COLLATE "C" NOT NULL REFERENCES users (id),
    token_hash     text COLLATE "C" NOT NULL,
    user_agent     text NOT NULL,
    created        bigint NOT NULL,
    last_seen      bigint NOT NULL,
    remembered     bigint NOT NULL,
    remembered_for text NOT NULL,
    UNIQUE (user_id, token_hash)
);
CREATE INDEX browsers_aging ON browsers (last_seen);

CREATE TABLE devices (
    id            text COLLATE "C" PRIMARY KEY,
    user_id       text COLLATE "C" REFERENCES users (id),
    name          text NOT NULL,
    state         text NOT NULL,
    machine       text NOT NULL,
    system        text NOT NULL,
    agent         text NOT NULL,
    protection    text NOT NULL,
    via           text NOT NULL,
    replaces      text NOT NULL,
    -- Of the certificate that was issued last.
    certificate   text COLLATE "C" NOT NULL UNIQUE,
    issued        bigint NOT NULL,
    expires       bigint NOT NULL,
    revoked       bigint NOT NULL,
    revoke_reason text NOT NULL,
    last_seen     bigint NOT NULL,
    version       bigint NOT NULL
);
CREATE INDEX devices_of ON devices (user_id, issued, id) WHERE user_id IS NOT NULL;
CREATE INDEX devices_newest ON devices (issued, id);
CREATE INDEX devices_expiring ON devices (expires);
CREATE INDEX devices_pending ON devices (issued) WHERE state = 'pending';
CREATE INDEX devices_revoked ON devices (revoked) WHERE revoked > 0;

CREATE TABLE device_certificates (
    certificate text COLLATE "C" PRIMARY KEY,
    device_id   text COLLATE "C" NOT NULL REFERENCES devices (id) ON DELETE CASCADE,
    key         text COLLATE "C" NOT NULL,
    der         bytea NOT NULL,
    previous    text NOT NULL,
    serial      text NOT NULL,
    issuer      text NOT NULL,
    issued      bigint NOT NULL,
    expires     bigint NOT NULL
);
CREATE INDEX device_certificates_of ON device_certificates (device_id, issued);
CREATE INDEX device_certificates_expiring ON device_certificates (expires);
CREATE UNIQUE INDEX device_certificates_keys ON device_certificates (key) WHERE issuer = '' AND key <> '';

CREATE TABLE barred_certificates (
    certificate text COLLATE "C" PRIMARY KEY,
    expires     bigint NOT NULL
);
CREATE INDEX barred_certificates_expiring ON barred_certificates (expires);

-- The CA's certificates from which devices were issued, in DER.
CREATE TABLE issuers (
    fingerprint text COLLATE "C" PRIMARY KEY,
    certificate bytea NOT NULL,
    expires     bigint NOT NULL
);
CREATE INDEX issuers_expiring ON issuers (expires);

-- Sign-in names and e-mail addresses that users gave up.
CREATE TABLE former_names (
    name     text COLLATE "C" NOT NULL,
    user_id  text COLLATE "C" NOT NULL,
    given_up bigint NOT NULL,
    PRIMARY KEY (name, user_id)
);
CREATE INDEX former_names_aging ON former_names (given_up);

-- What waits to be sent to people, and what became of it.
CREATE TABLE messages (
    id       text COLLATE "C" PRIMARY KEY,
    lane     integer NOT NULL,
    purpose  text COLLATE "C" NOT NULL,
    ref      text COLLATE "C" NOT NULL,
    user_id  text COLLATE "C" REFERENCES users (id),
    data     bytea NOT NULL,
    queued   bigint NOT NULL,
    due      bigint NOT NULL,
    expires  bigint NOT NULL,
    claimed  bigint NOT NULL,
    attempts integer NOT NULL,
    state    text NOT NULL,
    failure  text NOT NULL,
    version  bigint NOT NULL
);
CREATE INDEX messages_waiting ON messages (lane, due, id) WHERE state = 'waiting';
CREATE INDEX messages_about ON messages (purpose, ref, queued, id);
CREATE INDEX messages_of ON messages (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX messages_aging ON messages (expires);

-- What programs carry in place of a person's session.
CREATE TABLE access_tokens (
    id           text COLLATE "C" PRIMARY KEY,
    user_id      text COLLATE "C" REFERENCES users (id),
    name         text COLLATE "C" NOT NULL,
    selector     text COLLATE "C" NOT NULL UNIQUE,
    hash         text NOT NULL,
    former_hash  text NOT NULL,
    former_until bigint NOT NULL,
    groups       text NOT NULL,
    scope        bytea NOT NULL,
    owner_id     text NOT NULL,
    unowned      bigint NOT NULL,
    warned       bigint NOT NULL,
    created      bigint NOT NULL,
    expires      bigint NOT NULL,
    revoked      bigint NOT NULL,
    last_used    bigint NOT NULL,
    networks     text NOT NULL,
    suspended    boolean NOT NULL
);
CREATE UNIQUE INDEX access_tokens_named ON access_tokens (coalesce(user_id, ''), name) WHERE revoked = 0;
CREATE INDEX access_tokens_of ON access_tokens (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX access_tokens_aging ON access_tokens (expires);

CREATE TABLE events (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      bigint NOT NULL,
    name    text NOT NULL,
    user_id text COLLATE "C" NOT NULL,
    fields  text NOT NULL
);
CREATE INDEX events_aging ON events (at);
CREATE INDEX events_of ON events (user_id, id DESC);
CREATE INDEX events_named ON events (name, id DESC);

-- Work that one node does, which one does it, and until when.
CREATE TABLE leases (
    work   text COLLATE "C" PRIMARY KEY,
    holder text COLLATE "C" NOT NULL,
    until  bigint NOT NULL
);
