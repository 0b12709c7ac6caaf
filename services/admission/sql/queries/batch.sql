-- name: begin_batch!
-- Opens a batch's transaction and takes the shared policy lock, first and alone: the statements
-- that follow see every change of limits and fences that was acknowledged before.
START TRANSACTION ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock_shared(7401, 1);

-- name: lock_batch
-- Takes the batch's locks and returns what it decides on in one row; see functions.sql.
SELECT calls, sets, counters, instant
FROM lock_batch_3(
    $1::bigint, $2::bigint [], $3::text [], $4::uuid [], $5::date, $6::date, $7::uuid []
);

-- name: write_counters!
-- This and the eight that follow write what a batch changed: batch_writer.py makes one statement of
-- those that it needs. Counters get absolute values: their rows are locked.
UPDATE counter AS c
SET
    held = n.held,
    settled = n.settled,
    overrun = n.overrun,
    high_cap = n.high_cap,
    limit_id = n.limit_id,
    alerted_percent = n.alerted_percent,
    statistical = n.statistical,
    last_use_time = $1::timestamptz
FROM unnest($2::counter_change []) AS n
WHERE c.counter_id = n.counter_id;

-- name: write_other_counters!
-- The same for counters of rolling windows, buckets and concurrency: they have more to write.
UPDATE counter AS c
SET
    held = n.held,
    settled = n.settled,
    overrun = n.overrun,
    high_cap = n.high_cap,
    limit_id = n.limit_id,
    statistical = n.statistical,
    expire_time_max = n.expire_time_max,
    arrival = n.arrival,
    slot_indices = n.slot_indices::bigint [],
    slot_held = n.slot_held::bigint [],
    slot_settled = n.slot_settled::bigint [],
    last_use_time = $1::timestamptz
FROM unnest($2::other_counter_change []) AS n
WHERE c.counter_id = n.counter_id;

-- name: insert_counter_sets!
-- Remembers which counters the holds count on, unless that is known. The lists come as texts: they
-- differ in length.
INSERT INTO counter_set (set_id, counter_ids, end_time)
SELECT n.set_id, n.counter_ids::uuid [], n.end_time
FROM unnest($1::uuid [], $2::text [], $3::timestamptz []) AS n (set_id, counter_ids, end_time)
ORDER BY n.set_id
ON CONFLICT DO NOTHING;

-- name: insert_opened!
INSERT INTO reservation (
    org, call_id, fingerprint, operation, provider, model, held_nanos, held_tokens,
    worst_nanos, worst_tokens, set_id, expire_time, price_version, breaker_epoch,
    admit_time
)
SELECT
    n.org, n.call_id, n.fingerprint, n.operation, n.provider, n.model, n.held_nanos,
    n.held_tokens, n.worst_nanos, n.worst_tokens, n.set_id, n.expire_time, n.price_version,
    n.breaker_epoch, $1::timestamptz
FROM unnest($2::opened_call []) AS n;

-- name: extend_opened!
UPDATE reservation AS r
SET expire_time = n.expire_time
FROM unnest(
    $1::text [], $2::uuid [], $3::timestamptz []
) AS n (
    org, call_id, expire_time
)
WHERE r.org = n.org AND r.call_id = n.call_id;

-- name: delete_closed!
DELETE FROM reservation AS r
USING unnest($1::text [], $2::uuid []) AS n (org, call_id)
WHERE r.org = n.org AND r.call_id = n.call_id;

-- name: insert_ended!
INSERT INTO ended_reservation (
    org, call_id, id_day, fingerprint, operation, provider, model, held_nanos, held_tokens,
    set_id, admit_time, expire_time, price_version, breaker_epoch, state, settled_nanos,
    settled_tokens, revision, hold_returned, end_time
)
SELECT
    n.org, n.call_id, n.id_day, n.fingerprint, n.operation, n.provider, n.model,
    n.held_nanos, n.held_tokens, n.set_id, n.admit_time, n.expire_time, n.price_version,
    n.breaker_epoch, n.state, n.settled_nanos, n.settled_tokens, n.revision,
    n.hold_returned, $1::timestamptz
FROM unnest($2::ended_call []) AS n;

-- name: insert_crossings!
INSERT INTO crossing (
    counter_id, limit_id, scope, metric, start_time, end_time, percent, cap, settled, owner,
    cross_time
)
SELECT
    c.counter_id, n.limit_id, c.scope, c.metric, c.start_time, c.end_time, n.percent, n.cap,
    n.settled, n.owner, $1::timestamptz
FROM unnest(
    $2::uuid [], $3::text [], $4::smallint [], $5::bigint [], $6::bigint [], $7::text
    []
) AS n (
    counter_id, limit_id, percent, cap, settled, owner
)
INNER JOIN counter AS c ON n.counter_id = c.counter_id
ON CONFLICT DO NOTHING;

-- name: update_ended!
-- What was reported of calls that had ended before.
UPDATE ended_reservation AS e
SET
    state = n.state,
    settled_nanos = n.settled_nanos,
    settled_tokens = n.settled_tokens,
    revision = n.revision,
    hold_returned = n.hold_returned
FROM unnest(
    $1::text [], $2::uuid [], $3::date [], $4::smallint [], $5::bigint [], $6::bigint [],
    $7::integer [], $8::boolean []
) AS n (
    org, call_id, id_day, state, settled_nanos, settled_tokens, revision, hold_returned
)
WHERE
    e.org = n.org AND e.call_id = n.call_id AND e.id_day = n.id_day
    -- The other days' partitions are not even opened.
    AND (e.id_day BETWEEN $9::date AND $10::date OR e.id_day = '1970-01-01');

-- name: insert_counters!
-- Creates missing counters in lock order, in a transaction of its own: a batch only locks rows that
-- exist. Counters at zero change nothing.
INSERT INTO counter (
    counter_id, rank, org, scope, metric, window_kind, period, time_zone, anchor, length_us,
    slot_count, refill_amount, start_time, end_time
)
SELECT
    n.counter_id, n.rank, n.org, n.scope::jsonb, n.metric, n.window_kind, n.period, n.time_zone,
    n.anchor, n.length_us, n.slot_count, n.refill_amount, n.start_time, n.end_time
FROM unnest(
    $1::uuid [], $2::smallint [], $3::text [], $4::text [], $5::smallint [], $6::smallint [],
    $7::smallint [], $8::text [], $9::smallint [], $10::bigint [], $11::smallint [],
    $12::bigint [], $13::timestamptz [], $14::timestamptz []
) AS n (
    counter_id, rank, org, scope, metric, window_kind, period, time_zone, anchor, length_us,
    slot_count, refill_amount, start_time, end_time
)
ORDER BY n.rank, n.counter_id
ON CONFLICT DO NOTHING;

-- name: ensure_ended_partition
SELECT ensure_ended_partition($1::date);

-- name: select_clock
SELECT clock_timestamp();

-- name: select_due
-- Open calls whose time had passed at an instant, oldest first. Asked under a batch's locks, when a
-- limit on concurrency would deny: such calls do not count.
SELECT org, call_id FROM reservation
WHERE expire_time <= $1::timestamptz
ORDER BY expire_time
LIMIT $2::integer;
