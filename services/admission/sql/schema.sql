-- The whole schema of admission. sql/migrations builds exactly this; a test compares the two.
-- Amounts are calls or nano-US-dollars. Every instant is the database's clock.

-- One row: grows with each change of limits or fences, under the exclusive policy lock. A batch
-- that reads another version than it prepared for starts over.
CREATE TABLE policy_version (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    version bigint NOT NULL
);

-- Caps. `scope` maps dimensions to a value or '*'; {} is the platform.
CREATE TABLE limit_rule (
    limit_id text PRIMARY KEY,
    scope jsonb NOT NULL,
    metric smallint NOT NULL, -- 1 calls, 2 cost
    period smallint NOT NULL, -- 1 day, 2 month
    time_zone text NOT NULL,
    cap bigint NOT NULL CHECK (cap >= 0),
    owner text NOT NULL,
    update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Two limits of one pattern on one counter would make the cap ambiguous.
    CONSTRAINT limit_rule_pattern UNIQUE (scope, metric, period, time_zone)
);

-- Stops. Not limits: nothing overrides them. The highest sequence wins.
CREATE TABLE fence (
    fence_id text PRIMARY KEY,
    sequence bigint NOT NULL,
    active boolean NOT NULL,
    message text NOT NULL,
    actor text NOT NULL,
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
    period smallint NOT NULL,
    time_zone text NOT NULL,
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
    CONSTRAINT counter_guarantee CHECK (settled + held <= high_cap + overrun)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- The counters that a call's hold counts on: many calls share one set. Immutable.
CREATE TABLE counter_set (
    set_id uuid PRIMARY KEY,
    counter_ids uuid [] NOT NULL
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
    set_id uuid, -- NULL for a tombstone
    admit_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    price_version bigint NOT NULL,
    breaker_epoch bigint NOT NULL,
    state smallint NOT NULL, -- 2 settled, 3 released, 4 expired, 5 late
    settled_nanos bigint NOT NULL CHECK (settled_nanos >= 0),
    revision integer NOT NULL, -- newest revision of the usage row applied; 0: none
    hold_returned boolean NOT NULL,
    end_time timestamptz NOT NULL,
    PRIMARY KEY (org, call_id, id_day)
) PARTITION BY RANGE (id_day);

CREATE TABLE ended_reservation_undated PARTITION OF ended_reservation
FOR VALUES FROM (MINVALUE) TO ('2000-01-01');

-- Where admission stands in accounting's settlement feed, and which replica reads it now.
CREATE TABLE feed_cursor (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    transaction_id bigint NOT NULL,
    row_id bigint NOT NULL,
    reader text NOT NULL,
    lease_time timestamptz NOT NULL
);

-- Creates the partition of one day, if it is missing. Created apart and then attached: creating
-- it in place would block every insert until commit. Runs as the owner, whatever the caller's role.
CREATE FUNCTION ensure_ended_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = admission, pg_temp AS $$
DECLARE
    partition text := 'ended_reservation_' || to_char(day, 'YYYYMMDD');
BEGIN
    -- Two replicas may want the same day: the second waits here and then finds it.
    PERFORM pg_advisory_xact_lock(7401, 2);
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE ended_reservation INCLUDING ALL)', partition);
    EXECUTE format(
        'ALTER TABLE ended_reservation ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition, day, day + 1
    );
END
$$;

-- Takes the locks of one batch and returns what it decides on. Call it in a transaction that
-- already holds the shared policy lock, taken by a statement of its own: each statement in here
-- sees what was committed before that statement began. No row at all: the version has moved.
-- Lock order, the same for every writer: policy, ids by hash, counters by (rank, counter_id).
CREATE FUNCTION lock_batch(
    known_version bigint,
    id_hashes bigint [], -- of the batch's calls
    orgs text [],
    call_ids uuid [],
    id_days date [], -- partitions named by the ids
    wanted uuid [] -- counters of the calls that want to start
) RETURNS TABLE (
    kind smallint, -- 1 open, 2 ended, 3 counter, 4 the clock after all locks, 5 counter set
    org text, call_id uuid, fingerprint bytea, operation text, provider text, model text,
    held_nanos bigint, set_id uuid, admit_time timestamptz, expire_time timestamptz,
    price_version bigint, breaker_epoch bigint,
    state smallint, settled_nanos bigint, revision integer, hold_returned boolean, id_day date,
    counter_id uuid, metric smallint, held bigint, settled bigint, overrun bigint,
    high_cap bigint, instant timestamptz, counter_ids uuid []
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    open_rows reservation [];
    ended_rows ended_reservation [];
    sets counter_set [];
    locked_ids uuid [];
BEGIN
    IF NOT EXISTS (SELECT FROM policy_version AS p WHERE p.version = known_version) THEN
        RETURN;
    END IF;
    -- Ids in hash order: batches that share ids wait for each other, and never in a circle.
    PERFORM pg_advisory_xact_lock(h.id_hash)
    FROM (SELECT DISTINCT unnest(id_hashes) AS id_hash ORDER BY 1) AS h;
    SELECT array_agg(r) INTO open_rows
    FROM unnest(orgs, call_ids) AS k (org, call_id)
    INNER JOIN reservation AS r ON r.org = k.org AND r.call_id = k.call_id;
    SELECT array_agg(e) INTO ended_rows
    FROM unnest(orgs, call_ids, id_days) AS k (org, call_id, id_day)
    INNER JOIN ended_reservation AS e
        ON e.org = k.org AND e.call_id = k.call_id AND e.id_day IN (k.id_day, '1970-01-01');
    locked_ids := wanted;
    IF open_rows IS NOT NULL OR ended_rows IS NOT NULL THEN
        SELECT array_agg(s) INTO sets
        FROM counter_set AS s
        WHERE s.set_id IN (
            SELECT o.set_id FROM unnest(open_rows) AS o
            UNION
            SELECT e.set_id FROM unnest(ended_rows) AS e
        );
        SELECT array_agg(DISTINCT u.counter_id) INTO locked_ids
        FROM (
            SELECT unnest(wanted) AS counter_id
            UNION ALL
            SELECT unnest(s.counter_ids) FROM unnest(sets) AS s
        ) AS u;
        RETURN QUERY
        SELECT
            5::smallint, NULL::text, NULL::uuid, NULL::bytea, NULL::text, NULL::text, NULL::text,
            NULL::bigint, s.set_id, NULL::timestamptz, NULL::timestamptz, NULL::bigint,
            NULL::bigint, NULL::smallint, NULL::bigint, NULL::integer, NULL::boolean, NULL::date,
            NULL::uuid, NULL::smallint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
            NULL::timestamptz, s.counter_ids
        FROM unnest(sets) AS s;
        RETURN QUERY
        SELECT
            1::smallint, o.org, o.call_id, o.fingerprint, o.operation, o.provider, o.model,
            o.held_nanos, o.set_id, o.admit_time, o.expire_time, o.price_version, o.breaker_epoch,
            1::smallint, 0::bigint, 0, FALSE, NULL::date,
            NULL::uuid, NULL::smallint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
            NULL::timestamptz, NULL::uuid []
        FROM unnest(open_rows) AS o;
        RETURN QUERY
        SELECT
            2::smallint, e.org, e.call_id, e.fingerprint, e.operation, e.provider, e.model,
            e.held_nanos, e.set_id, e.admit_time, e.expire_time, e.price_version, e.breaker_epoch,
            e.state, e.settled_nanos, e.revision, e.hold_returned, e.id_day,
            NULL::uuid, NULL::smallint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
            NULL::timestamptz, NULL::uuid []
        FROM unnest(ended_rows) AS e;
    END IF;
    -- Counters in (rank, counter_id) order, the platform's last: it is held the shortest.
    RETURN QUERY
    SELECT
        3::smallint, NULL::text, NULL::uuid, NULL::bytea, NULL::text, NULL::text, NULL::text,
        NULL::bigint, NULL::uuid, NULL::timestamptz, NULL::timestamptz, NULL::bigint, NULL::bigint,
        NULL::smallint, NULL::bigint, NULL::integer, NULL::boolean, NULL::date,
        c.counter_id, c.metric, c.held, c.settled, c.overrun, c.high_cap, c.last_use_time,
        NULL::uuid []
    FROM counter AS c
    WHERE c.counter_id = ANY(locked_ids)
    ORDER BY c.rank, c.counter_id
    FOR UPDATE;
    -- Read once, after the locks: what was decided earlier was decided at an earlier time.
    RETURN QUERY
    SELECT
        4::smallint, NULL::text, NULL::uuid, NULL::bytea, NULL::text, NULL::text, NULL::text,
        NULL::bigint, NULL::uuid, NULL::timestamptz, NULL::timestamptz, NULL::bigint, NULL::bigint,
        NULL::smallint, NULL::bigint, NULL::integer, NULL::boolean, NULL::date,
        NULL::uuid, NULL::smallint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
        clock_timestamp(), NULL::uuid [];
END
$$;

-- Conservative caps of a fresh install; docs/operations.md lists them. Money in nano-US-dollars.
INSERT INTO policy_version (version) VALUES (1);
INSERT INTO limit_rule (limit_id, scope, metric, period, time_zone, cap, owner) VALUES
('default-platform-calls-day', '{}', 1, 1, 'UTC', 100000, ''),
('default-platform-cost-day', '{}', 2, 1, 'UTC', 100000000000, ''),
('default-platform-cost-month', '{}', 2, 2, 'UTC', 1000000000000, ''),
('default-org-calls-day', '{"org": "*"}', 1, 1, 'UTC', 10000, ''),
('default-org-cost-day', '{"org": "*"}', 2, 1, 'UTC', 10000000000, ''),
('default-org-cost-month', '{"org": "*"}', 2, 2, 'UTC', 100000000000, '');
INSERT INTO feed_cursor (transaction_id, row_id, reader, lease_time)
VALUES (0, 0, '', '-infinity');
