-- Identical calls that are under way, and the answers of those that have ended, for seconds. Not logged:
-- what callers were answered is in no backup, and a crash of the database forgets it.
CREATE UNLOGGED TABLE flight (
    -- SHA-256 of what makes calls identical: org, operation, session and key.
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    -- The call that leads.
    leader uuid NOT NULL,
    begin_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Until then it leads, or its answer is there.
    lease_time timestamptz NOT NULL,
    -- NULL while it is under way.
    answer bytea CHECK (octet_length(answer) <= 1048576),
    share_time timestamptz,
    cost_nanos bigint NOT NULL DEFAULT 0 CHECK (cost_nanos >= 0),
    provider text NOT NULL DEFAULT '',
    model text NOT NULL DEFAULT '',
    PRIMARY KEY (digest, leader)
);

-- One leads.
CREATE UNIQUE INDEX flight_open ON flight (digest) WHERE answer IS NULL;

CREATE INDEX flight_lease_time ON flight (lease_time);
