-- Limits over every dimension, metric and window; what is learned, denied and crossed.

-- Windows: 1 calendar, 2 rolling, 3 bucket, 4 total, 5 interval, 6 what is open now. `period` and
-- `time_zone` are 0 and '' unless it is a calendar's. `length_us` is a rolling window's length, or
-- the time in which a bucket refills by `refill_amount`.
ALTER TABLE policy_version
ADD COLUMN limit_count integer NOT NULL DEFAULT 0,
ADD COLUMN counted_version bigint NOT NULL DEFAULT 0;

ALTER TABLE limit_rule
ADD COLUMN window_kind smallint NOT NULL DEFAULT 1,
ADD COLUMN anchor smallint NOT NULL DEFAULT 1,
ADD COLUMN length_us bigint NOT NULL DEFAULT 0,
ADD COLUMN slot_count smallint NOT NULL DEFAULT 0,
ADD COLUMN refill_amount bigint NOT NULL DEFAULT 0,
ADD COLUMN interval_start timestamptz,
ADD COLUMN interval_end timestamptz,
ADD COLUMN mode smallint NOT NULL DEFAULT 1,
ADD COLUMN valid_from timestamptz,
ADD COLUMN valid_until timestamptz,
ADD COLUMN default_percent smallint NOT NULL DEFAULT 100,
ADD COLUMN sheddable_percent smallint NOT NULL DEFAULT 100,
ADD COLUMN alert_percents smallint [] NOT NULL DEFAULT '{50,80,100}',
DROP CONSTRAINT limit_rule_pattern;

CREATE UNIQUE INDEX limit_rule_pattern ON limit_rule (
    scope, metric, window_kind, period, time_zone, anchor, length_us, slot_count, refill_amount,
    interval_start, interval_end
) NULLS NOT DISTINCT WHERE valid_from IS NULL AND valid_until IS NULL;

ALTER TABLE fence
ADD COLUMN scope jsonb NOT NULL DEFAULT '{}',
ADD COLUMN expire_time timestamptz;

ALTER TABLE counter
ADD COLUMN window_kind smallint NOT NULL DEFAULT 1,
ADD COLUMN anchor smallint NOT NULL DEFAULT 1,
ADD COLUMN length_us bigint NOT NULL DEFAULT 0,
ADD COLUMN slot_count smallint NOT NULL DEFAULT 0,
ADD COLUMN refill_amount bigint NOT NULL DEFAULT 0,
ADD COLUMN limit_id text NOT NULL DEFAULT '',
ADD COLUMN alerted_percent smallint NOT NULL DEFAULT 0,
ADD COLUMN statistical boolean NOT NULL DEFAULT FALSE,
ADD COLUMN archived bigint NOT NULL DEFAULT 0,
ADD COLUMN expire_time_max timestamptz,
ADD COLUMN arrival numeric,
ADD COLUMN slot_indices bigint [],
ADD COLUMN slot_held bigint [],
ADD COLUMN slot_settled bigint [];

ALTER TABLE counter_set ADD COLUMN end_time timestamptz;

ALTER TABLE reservation
ADD COLUMN held_tokens bigint NOT NULL DEFAULT 0 CHECK (held_tokens >= 0),
ADD COLUMN worst_nanos bigint NOT NULL DEFAULT 0,
ADD COLUMN worst_tokens bigint NOT NULL DEFAULT 0;

ALTER TABLE ended_reservation
ADD COLUMN held_tokens bigint NOT NULL DEFAULT 0,
ADD COLUMN settled_tokens bigint NOT NULL DEFAULT 0 CHECK (settled_tokens >= 0);

CREATE TABLE share_bucket (
    operation text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    bucket smallint NOT NULL,
    call_count bigint NOT NULL,
    PRIMARY KEY (operation, provider, model, bucket)
);

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

CREATE INDEX crossing_feed ON crossing (xid, crossing_id);

CREATE TABLE violation_minute (
    minute timestamptz NOT NULL,
    limit_id text NOT NULL,
    org text NOT NULL,
    shadow boolean NOT NULL,
    call_count bigint NOT NULL,
    requested_nanos numeric NOT NULL,
    PRIMARY KEY (minute, limit_id, org, shadow)
);

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

-- One call as a batch reads it, open or ended.
CREATE TYPE locked_call AS (
    org text,
    call_id uuid,
    fingerprint bytea,
    operation text,
    provider text,
    model text,
    held_nanos bigint,
    held_tokens bigint,
    worst_nanos bigint,
    worst_tokens bigint,
    set_id uuid,
    admit_time timestamptz,
    expire_time timestamptz,
    price_version bigint,
    breaker_epoch bigint,
    state smallint,
    settled_nanos bigint,
    settled_tokens bigint,
    revision integer,
    hold_returned boolean,
    id_day date
);

-- One counter as a batch reads it, locked.
CREATE TYPE locked_counter AS (
    counter_id uuid,
    rank smallint,
    metric smallint,
    window_kind smallint,
    period smallint,
    time_zone text,
    anchor smallint,
    length_us bigint,
    slot_count smallint,
    refill_amount bigint,
    start_time timestamptz,
    end_time timestamptz,
    held bigint,
    settled bigint,
    overrun bigint,
    high_cap bigint,
    limit_id text,
    alerted_percent smallint,
    statistical boolean,
    last_use_time timestamptz,
    expire_time_max timestamptz,
    arrival numeric,
    slot_indices bigint [],
    slot_held bigint [],
    slot_settled bigint []
);

-- Takes the locks of one batch and returns what it decides on, in one row. Call it in a transaction
-- that already holds the shared policy lock, taken by a statement of its own: each statement in
-- here sees what was committed before that statement began. No row at all: the version has moved.
-- Lock order, the same for every writer: policy, ids by hash, counters by (rank, counter_id).
CREATE FUNCTION lock_batch_2(
    known_version bigint,
    id_hashes bigint [], -- of the batch's calls
    orgs text [],
    call_ids uuid [],
    id_days date [], -- partitions named by the ids
    wanted uuid [] -- counters of the calls that want to start
) RETURNS TABLE (
    calls locked_call [],
    sets counter_set [],
    counters locked_counter [],
    instant timestamptz -- the clock after all locks
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    locked_ids uuid [];
BEGIN
    IF NOT EXISTS (SELECT FROM policy_version AS p WHERE p.version = known_version) THEN
        RETURN;
    END IF;
    -- Ids in hash order: batches that share ids wait for each other, and never in a circle.
    PERFORM pg_advisory_xact_lock(h.id_hash)
    FROM (SELECT DISTINCT unnest(id_hashes) AS id_hash ORDER BY 1) AS h;
    SELECT array_agg(f.call) INTO calls
    FROM (
        SELECT
            ROW(
                r.org, r.call_id, r.fingerprint, r.operation, r.provider, r.model, r.held_nanos,
                r.held_tokens, r.worst_nanos, r.worst_tokens, r.set_id, r.admit_time,
                r.expire_time, r.price_version, r.breaker_epoch, 1, 0, 0, 0, FALSE, NULL
            )::locked_call AS call
        FROM unnest(orgs, call_ids) AS k (org, call_id)
        INNER JOIN reservation AS r ON r.org = k.org AND r.call_id = k.call_id
        UNION ALL
        SELECT
            ROW(
                e.org, e.call_id, e.fingerprint, e.operation, e.provider, e.model, e.held_nanos,
                e.held_tokens, 0, 0, e.set_id, e.admit_time, e.expire_time, e.price_version,
                e.breaker_epoch, e.state, e.settled_nanos, e.settled_tokens, e.revision,
                e.hold_returned, e.id_day
            )::locked_call AS call
        FROM unnest(orgs, call_ids, id_days) AS k (org, call_id, id_day)
        INNER JOIN ended_reservation AS e
            ON e.org = k.org AND e.call_id = k.call_id AND e.id_day IN (k.id_day, '1970-01-01')
    ) AS f;
    locked_ids := wanted;
    IF calls IS NOT NULL THEN
        SELECT array_agg(s) INTO sets
        FROM counter_set AS s
        WHERE s.set_id IN (SELECT (c).set_id FROM unnest(calls) AS c);
        SELECT array_agg(DISTINCT u.counter_id) INTO locked_ids
        FROM (
            SELECT unnest(wanted) AS counter_id
            UNION ALL
            SELECT unnest((s).counter_ids) FROM unnest(sets) AS s
        ) AS u;
    END IF;
    -- Counters in (rank, counter_id) order, the platform's last: it is held the shortest.
    SELECT
        array_agg(
            ROW(
                c.counter_id, c.rank, c.metric, c.window_kind, c.period, c.time_zone, c.anchor,
                c.length_us, c.slot_count, c.refill_amount, c.start_time, c.end_time, c.held,
                c.settled, c.overrun, c.high_cap, c.limit_id, c.alerted_percent, c.statistical,
                c.last_use_time, c.expire_time_max, c.arrival, c.slot_indices, c.slot_held,
                c.slot_settled
            )::locked_counter
        ) INTO counters
    FROM (
        SELECT *
        FROM counter
        WHERE counter_id = ANY(locked_ids)
        ORDER BY rank, counter_id
        FOR UPDATE
    ) AS c;
    -- Read once, after the locks: what was decided earlier was decided at an earlier time.
    instant := clock_timestamp();
    RETURN NEXT;
END
$$;

UPDATE policy_version
SET limit_count = (SELECT count(*) FROM limit_rule), counted_version = version;
