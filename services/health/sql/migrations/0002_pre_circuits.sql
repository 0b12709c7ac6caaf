-- Breakers of providers, and of their models and credentials. They take over what the older
-- table knows; servers of the last release go on with theirs until they are gone.
CREATE TABLE circuit (
    provider text NOT NULL,
    model text NOT NULL DEFAULT '',
    credential text NOT NULL DEFAULT '',
    state text NOT NULL DEFAULT 'closed'
    CONSTRAINT circuit_state_known CHECK (state IN ('closed', 'open', 'half-open')),
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    last_epoch bigint NOT NULL DEFAULT 0 CHECK (last_epoch >= 0),
    failure_count integer NOT NULL DEFAULT 0 CHECK (failure_count >= 0),
    failure_orgs text[] NOT NULL DEFAULT '{}',
    probe_success_count integer NOT NULL DEFAULT 0 CHECK (probe_success_count >= 0),
    open_count integer NOT NULL DEFAULT 0 CHECK (open_count >= 0),
    open_until timestamptz,
    cool_until timestamptz,
    forced text NOT NULL DEFAULT ''
    CONSTRAINT circuit_forced_known CHECK (forced IN ('', 'open', 'closed')),
    change_time timestamptz,
    success_time timestamptz,
    failure_time timestamptz,
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (provider, model, credential),
    CONSTRAINT circuit_of_one_thing CHECK (model = '' OR credential = ''),
    CONSTRAINT circuit_open_until CHECK (
        (state = 'open' AND forced = '') = (open_until IS NOT NULL)
    ),
    CONSTRAINT circuit_forced_state CHECK (forced = '' OR forced = state)
) WITH (fillfactor = 50);

CREATE TABLE circuit_permit (
    provider text NOT NULL,
    model text NOT NULL,
    credential text NOT NULL,
    org text NOT NULL,
    call_id uuid NOT NULL,
    epoch bigint NOT NULL,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (provider, org, call_id, model, credential)
);

CREATE TABLE circuit_window (
    provider text NOT NULL,
    model text NOT NULL,
    credential text NOT NULL,
    slots jsonb NOT NULL,
    call_count bigint NOT NULL,
    error_rate_percent integer NOT NULL,
    latency_p50_ms bigint,
    latency_p95_ms bigint,
    version bigint NOT NULL DEFAULT 0,
    update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (provider, model, credential)
) WITH (fillfactor = 50);

CREATE TABLE circuit_move (
    move_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    model text NOT NULL,
    credential text NOT NULL,
    epoch bigint NOT NULL,
    before_state text NOT NULL,
    after_state text NOT NULL,
    forced text NOT NULL,
    cause text NOT NULL,
    failure_count integer NOT NULL,
    open_until timestamptz,
    actor text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    move_time timestamptz NOT NULL,
    xact_id xid8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE INDEX circuit_move_provider ON circuit_move (provider, move_id);

INSERT INTO circuit (
    provider,
    state,
    epoch,
    last_epoch,
    failure_count,
    probe_success_count,
    open_count,
    open_until,
    change_time,
    success_time,
    failure_time,
    version
)
SELECT
    provider,
    state,
    epoch,
    epoch AS last_epoch,
    failure_count,
    probe_success_count,
    CASE WHEN state = 'closed' THEN 0 ELSE 1 END AS open_count,
    open_until,
    change_time,
    success_time,
    failure_time,
    version
FROM breaker;
