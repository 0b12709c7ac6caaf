-- name: begin_batch!
-- Opens a batch's transaction and takes the shared policy lock, first and alone: the statements
-- that follow see every change of limits and fences that was acknowledged before.
START TRANSACTION ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock_shared(7401, 1);

-- name: lock_batch
-- Takes the batch's locks and returns its rows; see schema.sql for the order.
SELECT
    kind, org, call_id, fingerprint, operation, provider, model, held_nanos, set_id, admit_time,
    expire_time, price_version, breaker_epoch, state, settled_nanos, revision, hold_returned,
    id_day, counter_id, metric, held, settled, overrun, high_cap, instant,
    counter_ids
FROM lock_batch($1::bigint, $2::bigint [], $3::text [], $4::uuid [], $5::date [], $6::uuid []);

-- name: apply_batch!
-- Writes what a batch changed. Counters get absolute values: their rows are locked.
WITH counters AS (
    UPDATE counter AS c
    SET
        held = n.held,
        settled = n.settled,
        overrun = n.overrun,
        high_cap = n.high_cap,
        last_use_time = $1::timestamptz
    FROM unnest($2::uuid [], $3::bigint [], $4::bigint [], $5::bigint [], $6::bigint [])
        AS n (counter_id, held, settled, overrun, high_cap)
    WHERE c.counter_id = n.counter_id
),

opened AS (
    INSERT INTO reservation (
        org, call_id, fingerprint, operation, provider, model, held_nanos, set_id, admit_time,
        expire_time, price_version, breaker_epoch
    )
    SELECT
        n.org, n.call_id, n.fingerprint, n.operation, n.provider, n.model, n.held_nanos, n.set_id,
        $1::timestamptz, n.expire_time, n.price_version, n.breaker_epoch
    FROM unnest(
        $7::text [], $8::uuid [], $9::bytea [], $10::text [], $11::text [], $12::text [],
        $13::bigint [], $14::uuid [], $15::timestamptz [], $16::bigint [], $17::bigint []
    ) AS n (
        org, call_id, fingerprint, operation, provider, model, held_nanos, set_id, expire_time,
        price_version, breaker_epoch
    )
),

closed AS (
    DELETE FROM reservation AS r
    USING unnest($18::text [], $19::uuid []) AS n (org, call_id)
    WHERE r.org = n.org AND r.call_id = n.call_id
),

ended AS (
    INSERT INTO ended_reservation (
        org, call_id, id_day, fingerprint, operation, provider, model, held_nanos, set_id,
        admit_time, expire_time, price_version, breaker_epoch, state, settled_nanos, revision,
        hold_returned, end_time
    )
    SELECT
        n.org, n.call_id, n.id_day, n.fingerprint, n.operation, n.provider, n.model, n.held_nanos,
        n.set_id, n.admit_time, n.expire_time, n.price_version, n.breaker_epoch, n.state,
        n.settled_nanos, n.revision, n.hold_returned, $1::timestamptz
    FROM unnest(
        $18::text [], $19::uuid [], $20::date [], $21::bytea [], $22::text [], $23::text [],
        $24::text [], $25::bigint [], $26::uuid [], $27::timestamptz [], $28::timestamptz [],
        $29::bigint [], $30::bigint [], $31::smallint [], $32::bigint [], $33::integer [],
        $34::boolean []
    ) AS n (
        org, call_id, id_day, fingerprint, operation, provider, model, held_nanos, set_id,
        admit_time, expire_time, price_version, breaker_epoch, state, settled_nanos, revision,
        hold_returned
    )
)

UPDATE ended_reservation AS e
SET state = n.state, settled_nanos = n.settled_nanos, revision = n.revision
FROM unnest(
    $35::text [], $36::uuid [], $37::date [], $38::smallint [], $39::bigint [], $40::integer []
) AS n (org, call_id, id_day, state, settled_nanos, revision)
WHERE e.org = n.org AND e.call_id = n.call_id AND e.id_day = n.id_day;

-- name: insert_counters!
-- Creates missing counters in lock order, in a transaction of its own: a batch then only locks
-- rows that exist. Counters at zero change nothing.
INSERT INTO counter (
    counter_id, rank, org, scope, metric, period, time_zone, start_time, end_time
)
SELECT
    n.counter_id, n.rank, n.org, n.scope::jsonb, n.metric, n.period, n.time_zone, n.start_time,
    n.end_time
FROM unnest(
    $1::uuid [], $2::smallint [], $3::text [], $4::text [], $5::smallint [], $6::smallint [],
    $7::text [], $8::timestamptz [], $9::timestamptz []
) AS n (counter_id, rank, org, scope, metric, period, time_zone, start_time, end_time)
ORDER BY n.rank, n.counter_id
ON CONFLICT DO NOTHING;

-- name: insert_counter_set!
-- Remembers which counters a binding's holds count on.
INSERT INTO counter_set (set_id, counter_ids) VALUES ($1::uuid, $2::uuid [])
ON CONFLICT DO NOTHING;

-- name: ensure_ended_partition
SELECT ensure_ended_partition($1::date);

-- name: select_clock
SELECT clock_timestamp();

-- name: select_policy
-- Version, limits and fences of one snapshot.
SELECT
    p.version,
    (
        SELECT coalesce(json_agg(l ORDER BY l.limit_id), '[]')
        FROM (
            SELECT limit_id, scope, metric, period, time_zone, cap, owner FROM limit_rule
        ) AS l
    )::text AS limits,
    (
        SELECT coalesce(json_agg(f ORDER BY f.fence_id), '[]')
        FROM (SELECT fence_id, sequence, active, message FROM fence) AS f
    )::text AS fences
FROM policy_version AS p;

-- name: select_version
SELECT version FROM policy_version;

-- name: lock_policy
-- Waits until no batch that read an older version is in flight, and holds new ones back.
SELECT pg_advisory_xact_lock(7401, 1);

-- name: terminate_policy_readers
-- Ends the sessions whose batches a fence waits for. None of these batches was answered, so
-- their callers retry.
SELECT count(pg_terminate_backend(l.pid))
FROM pg_locks AS l
WHERE
    l.locktype = 'advisory' AND l.classid = 7401 AND l.objid = 1 AND l.objsubid = 2
    AND l.mode = 'ShareLock' AND l.granted AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database());

-- name: bump_version
UPDATE policy_version SET version = version + 1 RETURNING version;

-- name: select_limit
SELECT row_to_json(l)::text FROM limit_rule AS l WHERE l.limit_id = $1::text;

-- name: upsert_limit!
INSERT INTO limit_rule (limit_id, scope, metric, period, time_zone, cap, owner)
VALUES ($1::text, $2::text::jsonb, $3::smallint, $4::smallint, $5::text, $6::bigint, $7::text)
ON CONFLICT (limit_id) DO UPDATE SET
scope = excluded.scope, metric = excluded.metric, period = excluded.period,
time_zone = excluded.time_zone, cap = excluded.cap, owner = excluded.owner,
update_time = clock_timestamp();

-- name: delete_limit!
DELETE FROM limit_rule WHERE limit_id = $1::text;

-- name: select_limits_page
SELECT limit_id, scope::text AS scope, metric, period, time_zone, cap, owner
FROM limit_rule
WHERE limit_id > $1::text
ORDER BY limit_id
LIMIT $2::integer;

-- name: select_fence
SELECT fence_id, sequence, active, message FROM fence WHERE fence_id = $1::text;

-- name: upsert_fence
-- An older sequence changes nothing and returns no row.
INSERT INTO fence (fence_id, sequence, active, message, actor)
VALUES ($1::text, $2::bigint, $3::boolean, $4::text, $5::text)
ON CONFLICT (fence_id) DO UPDATE SET
sequence = excluded.sequence, active = excluded.active, message = excluded.message,
actor = excluded.actor, change_time = clock_timestamp()
WHERE fence.sequence < excluded.sequence
RETURNING sequence, active;

-- name: insert_change!
INSERT INTO change_log (audit_id, target, before, after)
VALUES ($1::text, $2::text, $3::text::jsonb, $4::text::jsonb);

-- name: select_counters_page
-- Newest window first. Cold path: no index serves this order.
SELECT
    counter_id, rank, scope::text AS scope, metric, period, time_zone, start_time, end_time, held,
    settled, overrun, high_cap
FROM counter
WHERE
    ($1::text IS NULL OR org = $1::text)
    AND ($2::timestamptz IS NULL OR (start_time, counter_id) < ($2::timestamptz, $3::uuid))
ORDER BY start_time DESC, counter_id DESC
LIMIT $4::integer;

-- name: select_reservations
-- What is known of calls, open and ended, for reports that come without a permit.
SELECT
    k.ordinal, r.org, r.call_id, r.operation, r.provider, r.model, r.held_nanos, r.admit_time,
    r.expire_time, r.price_version, r.breaker_epoch, 1::smallint AS state
FROM unnest($1::text [], $2::uuid [], $3::date []) WITH ORDINALITY
    AS k (org, call_id, id_day, ordinal)
INNER JOIN reservation AS r ON k.org = r.org AND k.call_id = r.call_id
UNION ALL
SELECT
    k.ordinal, e.org, e.call_id, e.operation, e.provider, e.model, e.held_nanos, e.admit_time,
    e.expire_time, e.price_version, e.breaker_epoch, e.state
FROM unnest($1::text [], $2::uuid [], $3::date []) WITH ORDINALITY
    AS k (org, call_id, id_day, ordinal)
INNER JOIN ended_reservation AS e
    ON k.org = e.org AND k.call_id = e.call_id AND e.id_day IN (k.id_day, '1970-01-01')
WHERE e.set_id IS NOT NULL;

-- name: select_expired
-- Holds whose time has passed, oldest first. Read without locks: each is checked again under them.
SELECT org, call_id FROM reservation
WHERE expire_time <= clock_timestamp()
ORDER BY expire_time
LIMIT $1::integer;

-- name: select_unsettled
-- Which of these settlements are not applied yet. Read without locks: applying checks again.
SELECT k.ordinal
FROM unnest($1::text [], $2::uuid [], $3::date [], $4::integer []) WITH ORDINALITY
    AS k (org, call_id, id_day, revision, ordinal)
WHERE NOT EXISTS (
    SELECT FROM ended_reservation AS e
    WHERE
        e.org = k.org AND e.call_id = k.call_id AND e.id_day IN (k.id_day, '1970-01-01')
        AND e.revision >= k.revision
);

-- name: lease_feed
-- Makes this replica the feed's reader for a while, unless another one is.
UPDATE feed_cursor
SET reader = $1::text, lease_time = clock_timestamp() + $2::interval
WHERE reader = $1::text OR lease_time < clock_timestamp()
RETURNING transaction_id, row_id;

-- name: advance_feed!
-- Moves the cursor, unless the lease went to another reader meanwhile.
UPDATE feed_cursor SET transaction_id = $2::bigint, row_id = $3::bigint
WHERE reader = $1::text;

-- name: audit_counters
-- Every counter whose sums differ from its reservations; none, in every snapshot.
WITH open_sums AS (
    SELECT u.counter_id, count(*) AS calls, sum(r.held_nanos) AS nanos
    FROM reservation AS r
    INNER JOIN counter_set AS s ON r.set_id = s.set_id
    CROSS JOIN LATERAL unnest(s.counter_ids) AS u (counter_id)
    GROUP BY u.counter_id
),

ended_sums AS (
    SELECT
        u.counter_id,
        count(*) FILTER (WHERE e.state <> 3) AS calls,
        sum(e.settled_nanos) AS nanos
    FROM ended_reservation AS e
    INNER JOIN counter_set AS s ON e.set_id = s.set_id
    CROSS JOIN LATERAL unnest(s.counter_ids) AS u (counter_id)
    GROUP BY u.counter_id
)

SELECT
    c.counter_id, c.scope::text AS scope, c.metric, c.held, c.settled,
    CASE c.metric WHEN 1 THEN coalesce(o.calls, 0) ELSE coalesce(o.nanos, 0) END::bigint
        AS expected_held,
    CASE c.metric WHEN 1 THEN coalesce(e.calls, 0) ELSE coalesce(e.nanos, 0) END::bigint
        AS expected_settled
FROM counter AS c
LEFT JOIN open_sums AS o ON c.counter_id = o.counter_id
LEFT JOIN ended_sums AS e ON c.counter_id = e.counter_id
WHERE
    c.held <> CASE c.metric WHEN 1 THEN coalesce(o.calls, 0) ELSE coalesce(o.nanos, 0) END
    OR c.settled <> CASE c.metric WHEN 1 THEN coalesce(e.calls, 0) ELSE coalesce(e.nanos, 0) END
    OR c.settled + c.held > c.high_cap + c.overrun;
