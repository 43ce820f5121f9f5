-- What the database is, who uses it, and the numbers that have been given out.

CREATE TABLE migrations (
    number BIGINT PRIMARY KEY
);

-- Settings and watermarks of the store itself, by name.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- The last number that was given out, for each kind of thing that is numbered.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

-- The gateway that uses the database.
CREATE TABLE lease (
    name TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    holder TEXT NOT NULL,
    expires BIGINT NOT NULL
);
