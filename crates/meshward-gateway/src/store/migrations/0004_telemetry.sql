-- What nodes measured: what came lately as it came, and blocks by node and time in three resolutions.

-- Ids of metrics in blocks; names never go, so that ids never mean something else.
CREATE TABLE metrics (
    id BIGINT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE telemetry_log (
    id BIGINT PRIMARY KEY,
    samples BIGINT NOT NULL,
    data BLOB NOT NULL
);

-- The resolution is 0 for raw, 60 and 3600 for seconds; `start` is when the block begins.
CREATE TABLE telemetry_blocks (
    resolution BIGINT NOT NULL,
    node BIGINT NOT NULL,
    start BIGINT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (resolution, node, start)
);
CREATE INDEX telemetry_blocks_start ON telemetry_blocks (resolution, start);
