-- name: begin_batch!
-- Opens a batch's transaction and takes the shared policy lock, first and alone: the statements
-- that follow see every change of limits and fences that was acknowledged before.
START TRANSACTION ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock_shared(7401, 1);

-- name: lock_batch
-- Takes the batch's locks and returns what it decides on in one row; see functions.sql.
SELECT calls, sets, counters, instant
FROM lock_batch_2($1::bigint, $2::bigint [], $3::text [], $4::uuid [], $5::date [], $6::uuid []);

-- name: apply_batch!
-- Writes what a batch changed. Counters get absolute values: their rows are locked. Those of rolling
-- windows, buckets and concurrency have more to write, and come apart.
WITH counters AS (
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
    FROM unnest(
        $2::uuid [], $3::bigint [], $4::bigint [], $5::bigint [], $6::bigint [], $7::text [],
        $8::smallint [], $9::boolean []
    ) AS n (
        counter_id, held, settled, overrun, high_cap, limit_id, alerted_percent, statistical
    )
    WHERE c.counter_id = n.counter_id
),

others AS (
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
    FROM unnest(
        $10::uuid [], $11::bigint [], $12::bigint [], $13::bigint [], $14::bigint [], $15::text
        [], $16::smallint [], $17::boolean [], $18::timestamptz [], $19::numeric [], $20::text
        [], $21::text [], $22::text []
    ) AS n (
        counter_id, held, settled, overrun, high_cap, limit_id, alerted_percent, statistical,
        expire_time_max, arrival, slot_indices, slot_held, slot_settled
    )
    WHERE c.counter_id = n.counter_id
),

opened AS (
    INSERT INTO reservation (
        org, call_id, fingerprint, operation, provider, model, held_nanos, held_tokens,
        worst_nanos, worst_tokens, set_id, expire_time, price_version, breaker_epoch,
        admit_time
    )
    SELECT
        n.org, n.call_id, n.fingerprint, n.operation, n.provider, n.model, n.held_nanos,
        n.held_tokens, n.worst_nanos, n.worst_tokens, n.set_id, n.expire_time, n.price_version,
        n.breaker_epoch, $1::timestamptz
    FROM unnest(
        $23::text [], $24::uuid [], $25::bytea [], $26::text [], $27::text [], $28::text [],
        $29::bigint [], $30::bigint [], $31::bigint [], $32::bigint [], $33::uuid [],
        $34::timestamptz [], $35::bigint [], $36::bigint []
    ) AS n (
        org, call_id, fingerprint, operation, provider, model, held_nanos, held_tokens,
        worst_nanos, worst_tokens, set_id, expire_time, price_version, breaker_epoch
    )
),

extended AS (
    UPDATE reservation AS r
    SET expire_time = n.expire_time
    FROM unnest(
        $37::text [], $38::uuid [], $39::timestamptz []
    ) AS n (
        org, call_id, expire_time
    )
    WHERE r.org = n.org AND r.call_id = n.call_id
),

closed AS (
    DELETE FROM reservation AS r
    USING unnest($40::text [], $41::uuid []) AS n (org, call_id)
    WHERE r.org = n.org AND r.call_id = n.call_id
),

ended AS (
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
    FROM unnest(
        $40::text [], $41::uuid [], $42::date [], $43::bytea [], $44::text [], $45::text [],
        $46::text [], $47::bigint [], $48::bigint [], $49::uuid [], $50::timestamptz [],
        $51::timestamptz [], $52::bigint [], $53::bigint [], $54::smallint [], $55::bigint [],
        $56::bigint [], $57::integer [], $58::boolean []
    ) AS n (
        org, call_id, id_day, fingerprint, operation, provider, model, held_nanos, held_tokens,
        set_id, admit_time, expire_time, price_version, breaker_epoch, state, settled_nanos,
        settled_tokens, revision, hold_returned
    )
),

crossed AS (
    INSERT INTO crossing (
        counter_id, limit_id, scope, metric, start_time, end_time, percent, cap, settled, owner,
        cross_time
    )
    SELECT
        c.counter_id, n.limit_id, c.scope, c.metric, c.start_time, c.end_time, n.percent, n.cap,
        n.settled, n.owner, $1::timestamptz
    FROM unnest(
        $59::uuid [], $60::text [], $61::smallint [], $62::bigint [], $63::bigint [], $64::text
        []
    ) AS n (
        counter_id, limit_id, percent, cap, settled, owner
    )
    INNER JOIN counter AS c ON n.counter_id = c.counter_id
    ON CONFLICT DO NOTHING
)

UPDATE ended_reservation AS e
SET
    state = n.state,
    settled_nanos = n.settled_nanos,
    settled_tokens = n.settled_tokens,
    revision = n.revision,
    hold_returned = n.hold_returned
FROM unnest(
    $65::text [], $66::uuid [], $67::date [], $68::smallint [], $69::bigint [], $70::bigint [],
    $71::integer [], $72::boolean []
) AS n (
    org, call_id, id_day, state, settled_nanos, settled_tokens, revision, hold_returned
)
WHERE e.org = n.org AND e.call_id = n.call_id AND e.id_day = n.id_day;

-- name: insert_counters!
-- Creates missing counters in lock order, in a transaction of its own: a batch then only locks
-- rows that exist. Counters at zero change nothing.
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

-- name: insert_counter_set!
-- Remembers which counters a binding's holds count on.
INSERT INTO counter_set (set_id, counter_ids, end_time)
VALUES ($1::uuid, $2::uuid [], $3::timestamptz)
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
