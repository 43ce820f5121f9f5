-- What is known, what has happened, and what people asked for.

CREATE TABLE nodes (
    id BIGINT PRIMARY KEY,
    name TEXT,
    tags TEXT NOT NULL,
    notes TEXT NOT NULL,
    hardware TEXT,
    role TEXT,
    firmware TEXT,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    memory TEXT
);

CREATE TABLE topology (
    revision BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    tree TEXT NOT NULL
);
CREATE INDEX topology_at ON topology (at);

-- The ids are reserved in blocks before they are used, so they rise across crashes.
CREATE TABLE events (
    id BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    node BIGINT,
    detail TEXT NOT NULL
);
CREATE INDEX events_at ON events (at);
CREATE INDEX events_node ON events (node, id);

CREATE TABLE alerts (
    fingerprint TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    state TEXT NOT NULL
);
CREATE TABLE alert_transitions (
    id BIGINT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    at BIGINT NOT NULL,
    transition TEXT NOT NULL
);
CREATE INDEX alert_transitions_of ON alert_transitions (fingerprint, id);
CREATE INDEX alert_transitions_at ON alert_transitions (at);

-- Alert rules and silences; whoever changes one says which version he has read.
CREATE TABLE documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE TABLE firmware (
    sha256 TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    size BIGINT NOT NULL,
    manifest BLOB,
    confirmed BIGINT NOT NULL,
    uploaded_at BIGINT NOT NULL
);
CREATE TABLE firmware_images (
    sha256 TEXT PRIMARY KEY REFERENCES firmware (sha256) ON DELETE CASCADE,
    data BLOB NOT NULL
);

CREATE TABLE rollouts (
    id BIGINT PRIMARY KEY,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    started BIGINT NOT NULL,
    finished BIGINT,
    report TEXT
);
CREATE TABLE rollout_nodes (
    rollout BIGINT NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    node BIGINT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (rollout, node)
);

CREATE TABLE commands (
    cid BIGINT PRIMARY KEY,
    node BIGINT NOT NULL,
    code BIGINT NOT NULL,
    params TEXT NOT NULL,
    actor TEXT NOT NULL,
    accepted_at BIGINT NOT NULL,
    ended TEXT
);
CREATE INDEX commands_accepted_at ON commands (accepted_at);

CREATE TABLE audit (
    seq BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    hash BLOB NOT NULL
);

CREATE TABLE outbox (
    id BIGINT PRIMARY KEY,
    channel TEXT NOT NULL,
    payload TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    next_at BIGINT NOT NULL
);
CREATE INDEX outbox_due ON outbox (channel, next_at);

CREATE TABLE idempotency (
    key TEXT NOT NULL,
    actor TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    status BIGINT,
    body TEXT,
    expires BIGINT NOT NULL,
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_expires ON idempotency (expires);
