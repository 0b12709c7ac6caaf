-- The schema of admission; functions.sql has its functions. sql/migrations builds exactly this; a
-- test compares the two. Amounts are calls, tokens or nano-US-dollars. Every instant is the
-- database's clock.

-- One row: grows with each change of limits or fences, under the exclusive policy lock. A batch
-- that reads another version than it prepared for starts over.
CREATE TABLE policy_version (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    version bigint NOT NULL,
    -- How many limits there are, as of that version: a set that is not whole replaces none. Of another
    -- version than the one above: not counted.
    limit_count integer NOT NULL DEFAULT 0,
    counted_version bigint NOT NULL DEFAULT 0
);

-- Caps. `scope` maps dimensions to a value or '*'; {} is the platform.
CREATE TABLE limit_rule (
    limit_id text PRIMARY KEY,
    scope jsonb NOT NULL,
    metric smallint NOT NULL, -- 1 calls, 2 cost, 3 tokens, 4 concurrency
    -- 1 calendar, 2 rolling, 3 bucket, 4 total, 5 interval, 6 what is open now (concurrency).
    window_kind smallint NOT NULL DEFAULT 1,
    period smallint NOT NULL, -- 1 day, 2 month, 3 hour, 4 week; 0: no calendar window
    time_zone text NOT NULL, -- '': no calendar window
    anchor smallint NOT NULL DEFAULT 1, -- first day of a week (Monday 1), or of a month
    -- Length of a rolling window, or time in which a bucket refills by refill_amount.
    length_us bigint NOT NULL DEFAULT 0,
    slot_count smallint NOT NULL DEFAULT 0,
    refill_amount bigint NOT NULL DEFAULT 0,
    interval_start timestamptz,
    interval_end timestamptz,
    cap bigint NOT NULL CHECK (cap >= 0),
    owner text NOT NULL,
    mode smallint NOT NULL DEFAULT 1, -- 1 enforce, 2 shadow, 3 off
    -- NULL: always was, and for ever.
    valid_from timestamptz,
    valid_until timestamptz,
    -- Percents of the cap that calls of these priorities may use.
    default_percent smallint NOT NULL DEFAULT 100,
    sheddable_percent smallint NOT NULL DEFAULT 100,
    alert_percents smallint [] NOT NULL DEFAULT '{50,80,100}',
    update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- policy_version in which it was last written; 1: before that was kept.
    version bigint NOT NULL DEFAULT 1
);

-- Two limits of one pattern on one counter would make the cap ambiguous. Temporary ones may stand
-- beside a lasting one; that they do not overlap is checked under the exclusive policy lock.
CREATE UNIQUE INDEX limit_rule_pattern ON limit_rule (
    scope, metric, window_kind, period, time_zone, anchor, length_us, slot_count, refill_amount,
    interval_start, interval_end
) NULLS NOT DISTINCT WHERE valid_from IS NULL AND valid_until IS NULL;

-- Stops. Not limits: nothing overrides them. The highest sequence wins.
CREATE TABLE fence (
    fence_id text PRIMARY KEY,
    sequence bigint NOT NULL,
    active boolean NOT NULL,
    message text NOT NULL,
    actor text NOT NULL,
    scope jsonb NOT NULL DEFAULT '{}', -- values by dimension; {} is the platform
    expire_time timestamptz, -- lifts itself then; NULL: never
    change_time timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Every change of limits and fences with what it replaced, in the change's own transaction.
CREATE TABLE change_log (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    audit_id text NOT NULL,
    target text NOT NULL,
    before jsonb,
    after jsonb,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What one scope has used in one window. `counter_id` is the first half of the SHA-256 of the
-- other identifying columns. No secondary index, and room in each page: updates stay HOT.
CREATE TABLE counter (
    counter_id uuid PRIMARY KEY,
    -- Lock order is (rank, counter_id): minus the number of dimensions, so the platform is last.
    rank smallint NOT NULL,
    org text NOT NULL, -- '' for the platform
    scope jsonb NOT NULL,
    metric smallint NOT NULL,
    -- The window's definition, as in limit_rule.
    window_kind smallint NOT NULL DEFAULT 1,
    period smallint NOT NULL,
    time_zone text NOT NULL,
    anchor smallint NOT NULL DEFAULT 1,
    length_us bigint NOT NULL DEFAULT 0,
    slot_count smallint NOT NULL DEFAULT 0,
    refill_amount bigint NOT NULL DEFAULT 0,
    -- 1970 and 9999 for windows without an end.
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    settled bigint NOT NULL DEFAULT 0 CHECK (settled >= 0),
    -- Part of settled above what had been held, late reports included.
    overrun bigint NOT NULL DEFAULT 0 CHECK (overrun >= 0),
    -- Greatest cap under which something was admitted in this window.
    high_cap bigint NOT NULL DEFAULT 0,
    -- No batch decides at an earlier time than the last one that used the counter.
    last_use_time timestamptz NOT NULL DEFAULT 'epoch',
    limit_id text NOT NULL DEFAULT '', -- under which something was admitted last
    alerted_percent smallint NOT NULL DEFAULT 0, -- greatest threshold that was crossed
    statistical boolean NOT NULL DEFAULT FALSE, -- held here by an adaptive estimate
    -- Part of settled whose calls are remembered no more.
    archived bigint NOT NULL DEFAULT 0,
    -- Concurrency: when the last open call expires.
    expire_time_max timestamptz,
    -- Bucket: theoretical arrival time in microseconds, times refill_amount.
    arrival numeric,
    -- Rolling: what was admitted within each slot; held and settled are their sums.
    slot_indices bigint [],
    slot_held bigint [],
    slot_settled bigint [],
    CONSTRAINT counter_guarantee CHECK (settled + held <= high_cap + overrun)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- The counters that a call's hold counts on: many calls share one set. Immutable.
CREATE TABLE counter_set (
    set_id uuid PRIMARY KEY,
    counter_ids uuid [] NOT NULL,
    -- No call is admitted on it from then on. NULL: unknown.
    end_time timestamptz
);

-- Open holds. Small: a row leaves when its call ends.
CREATE TABLE reservation (
    org text NOT NULL,
    call_id uuid NOT NULL,
    -- SHA-256 of the caller's fields: the same id with other fields is refused.
    fingerprint bytea NOT NULL,
    operation text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    held_nanos bigint NOT NULL CHECK (held_nanos >= 0),
    held_tokens bigint NOT NULL DEFAULT 0 CHECK (held_tokens >= 0),
    -- The most that it may use: more than what is held if that was an adaptive estimate.
    worst_nanos bigint NOT NULL DEFAULT 0,
    worst_tokens bigint NOT NULL DEFAULT 0,
    set_id uuid NOT NULL,
    admit_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    price_version bigint NOT NULL,
    breaker_epoch bigint NOT NULL,
    PRIMARY KEY (org, call_id)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

-- For the sweeper.
CREATE INDEX reservation_expire_time ON reservation (expire_time);

-- Ended calls, remembered for the settlement horizon. Partitioned by the day in the id when that
-- is near the admission, else by 1970-01-01, so that a look-up by id probes two partitions.
CREATE TABLE ended_reservation (
    org text NOT NULL,
    call_id uuid NOT NULL,
    id_day date NOT NULL,
    fingerprint bytea NOT NULL, -- empty for a tombstone
    operation text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    held_nanos bigint NOT NULL,
    held_tokens bigint NOT NULL DEFAULT 0,
    set_id uuid, -- NULL for a tombstone
    admit_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    price_version bigint NOT NULL,
    breaker_epoch bigint NOT NULL,
    state smallint NOT NULL, -- 2 settled, 3 released, 4 expired, 5 late, 6 written off
    settled_nanos bigint NOT NULL CHECK (settled_nanos >= 0),
    settled_tokens bigint NOT NULL DEFAULT 0 CHECK (settled_tokens >= 0),
    revision integer NOT NULL, -- newest revision of the usage row applied; 0: none
    hold_returned boolean NOT NULL,
    end_time timestamptz NOT NULL,
    PRIMARY KEY (org, call_id, id_day)
) PARTITION BY RANGE (id_day);

CREATE TABLE ended_reservation_undated PARTITION OF ended_reservation
FOR VALUES FROM (MINVALUE) TO ('2000-01-01');

-- How often ended calls of a kind used so many percents of their worst case: what adaptive
-- estimates are learned from.
CREATE TABLE share_bucket (
    operation text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    bucket smallint NOT NULL,
    call_count bigint NOT NULL,
    PRIMARY KEY (operation, provider, model, bucket)
);

-- Thresholds of limits that what is settled reached, written in the transaction that reached them.
CREATE TABLE crossing (
    crossing_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    counter_id uuid NOT NULL,
    limit_id text NOT NULL,
    scope jsonb NOT NULL,
    metric smallint NOT NULL,
    start_time timestamptz NOT NULL,
    end_time timestamptz NOT NULL,
    percent smallint NOT NULL,
    cap bigint NOT NULL,
    settled bigint NOT NULL,
    owner text NOT NULL,
    cross_time timestamptz NOT NULL,
    CONSTRAINT crossing_once UNIQUE (counter_id, percent)
);

-- The feed's order.
CREATE INDEX crossing_feed ON crossing (xid, crossing_id);

-- What limits denied, or would have in shadow mode, by minute. Written outside of decisions.
CREATE TABLE violation_minute (
    minute timestamptz NOT NULL,
    limit_id text NOT NULL,
    org text NOT NULL,
    shadow boolean NOT NULL,
    call_count bigint NOT NULL,
    requested_nanos numeric NOT NULL,
    PRIMARY KEY (minute, limit_id, org, shadow)
);

-- The newest violations of each limit, a hundred places in turn.
CREATE TABLE violation_sample (
    limit_id text NOT NULL,
    place smallint NOT NULL,
    violation_time timestamptz NOT NULL,
    org text NOT NULL,
    call_id uuid NOT NULL,
    operation text NOT NULL,
    violation bytea NOT NULL,
    PRIMARY KEY (limit_id, place)
);

-- What the last audit found, for the metrics of the servers: a job has no page of its own.
CREATE TABLE audit_result (
    guarantee smallint PRIMARY KEY,
    difference_count bigint NOT NULL,
    audit_time timestamptz NOT NULL
);

-- Where admission stands in accounting's settlement feed, and which replica reads it now.
CREATE TABLE feed_cursor (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    transaction_id bigint NOT NULL,
    row_id bigint NOT NULL,
    reader text NOT NULL,
    lease_time timestamptz NOT NULL
);

-- Conservative caps of a fresh install; docs/operations.md lists them. Money in nano-US-dollars.
INSERT INTO policy_version (version, limit_count, counted_version) VALUES (1, 6, 1);
INSERT INTO limit_rule (limit_id, scope, metric, period, time_zone, cap, owner) VALUES
('default-platform-calls-day', '{}', 1, 1, 'UTC', 100000, ''),
('default-platform-cost-day', '{}', 2, 1, 'UTC', 100000000000, ''),
('default-platform-cost-month', '{}', 2, 2, 'UTC', 1000000000000, ''),
('default-org-calls-day', '{"org": "*"}', 1, 1, 'UTC', 10000, ''),
('default-org-cost-day', '{"org": "*"}', 2, 1, 'UTC', 10000000000, ''),
('default-org-cost-month', '{"org": "*"}', 2, 2, 'UTC', 100000000000, '');
INSERT INTO feed_cursor (transaction_id, row_id, reader, lease_time)
VALUES (0, 0, '', '-infinity');
