-- Who may do what: users, the tokens of programs, the sessions of people. Of every secret only the SHA-256 is here.

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    password TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- A token without a user is the gateway's own.
CREATE TABLE tokens (
    digest BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    user_name TEXT REFERENCES users (name) ON DELETE CASCADE,
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT
);

CREATE TABLE sessions (
    digest BLOB PRIMARY KEY,
    user_name TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL
);
