-- The whole schema of health. sql/migrations builds exactly this; a test compares the two.
-- Every instant is the database's clock.
-- Lock order everywhere: breakers by provider, or the kill switches' advisory lock (7403, 1);
-- then health_version.

-- One row: grows with each change that watchers must learn of. It is bumped last in a change's
-- transaction and its row lock orders the commits, so whoever reads version n reads all of 1..n.
CREATE TABLE health_version (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    version bigint NOT NULL
);

INSERT INTO health_version (version) VALUES (0);

-- The authority on each provider. A provider without a row is closed, of epoch 0. No secondary
-- index, and room in each page: updates stay HOT.
CREATE TABLE breaker (
    provider text PRIMARY KEY,
    -- closed: calls pass. open: refused until open_until. half-open: few pass, as probes.
    state text NOT NULL DEFAULT 'closed'
    CONSTRAINT breaker_state_known CHECK (state IN ('closed', 'open', 'half-open')),
    -- Grows by one with each change of state; outcomes of another epoch change nothing.
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    -- Failures in a row, fleet-wide, in commit order.
    failure_count integer NOT NULL DEFAULT 0 CHECK (failure_count >= 0),
    -- Successful probes since it became half-open.
    probe_success_count integer NOT NULL DEFAULT 0 CHECK (probe_success_count >= 0),
    -- When probes may begin.
    open_until timestamptz,
    -- When the state last changed; NULL until it does.
    change_time timestamptz,
    -- When a call last succeeded and failed; written about once a second at most.
    success_time timestamptz,
    failure_time timestamptz,
    -- health_version in which watchers learnt of it; 0 until they have.
    version bigint NOT NULL DEFAULT 0,
    CONSTRAINT breaker_open_until CHECK ((state = 'open') = (open_until IS NOT NULL))
) WITH (fillfactor = 50);

-- Who may probe: leases, at most a configured count unexpired per provider. Inserted only under
-- the breaker's row lock. An expired one counts for nothing, whether it is still here or not.
CREATE TABLE breaker_probe (
    provider text NOT NULL REFERENCES breaker (provider),
    org text NOT NULL,
    call_id uuid NOT NULL,
    -- The half-open epoch that granted it.
    epoch bigint NOT NULL,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (provider, org, call_id)
);

-- Stops of all calls. The row says what is wanted; admission's fence of the same id does it.
CREATE TABLE kill_switch (
    kill_id text PRIMARY KEY,
    -- intended: wanted, not acknowledged by admission. in-force: acknowledged.
    -- resuming: lifting is wanted, not acknowledged. resumed: lifted.
    state text NOT NULL
    CONSTRAINT kill_switch_state_known CHECK (
        state IN ('intended', 'in-force', 'resuming', 'resumed')
    ),
    reason text NOT NULL,
    message text NOT NULL,
    actor text NOT NULL,
    -- Grows with each kill and resume. The highest wins, here and in admission's fence.
    sequence bigint NOT NULL CHECK (sequence > 0),
    change_time timestamptz NOT NULL,
    version bigint NOT NULL
);

-- Every order to kill or resume with what it replaced, in the order's own transaction.
CREATE TABLE change_log (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The gateway's audit entry.
    audit_id text NOT NULL,
    -- What was changed, such as 'kill_switch/platform'.
    target text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    before jsonb,
    after jsonb,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp()
);
