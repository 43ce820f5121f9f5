-- What the waves of a roll-out have come to: written before anything is done about it.

CREATE TABLE rollout_waves (
    rollout BIGINT PRIMARY KEY REFERENCES rollouts (id) ON DELETE CASCADE,
    memory TEXT NOT NULL
);
