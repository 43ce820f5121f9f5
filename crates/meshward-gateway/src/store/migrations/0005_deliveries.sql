-- What became of messages, and why one that waits has not been delivered yet.

ALTER TABLE outbox ADD COLUMN why TEXT NOT NULL DEFAULT '';
ALTER TABLE outbox ADD COLUMN first_at BIGINT NOT NULL DEFAULT 0;

CREATE TABLE deliveries (
    id BIGINT PRIMARY KEY,
    channel TEXT NOT NULL,
    at BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    why TEXT NOT NULL,
    payload TEXT NOT NULL
);
CREATE INDEX deliveries_of ON deliveries (channel, id);
