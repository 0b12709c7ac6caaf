-- name: select_counters_page
-- Newest window first. Cold path: no index serves this order.
SELECT
    scope::text AS scope, counter_id, rank, metric, window_kind, period, time_zone, anchor,
    length_us, slot_count, refill_amount, start_time, end_time, held, settled, overrun,
    high_cap, limit_id, alerted_percent, statistical, last_use_time, expire_time_max, arrival,
    slot_indices, slot_held, slot_settled
FROM counter
WHERE
    ($1::text IS NULL OR org = $1::text)
    AND ($2::timestamptz IS NULL OR (start_time, counter_id) < ($2::timestamptz, $3::uuid))
ORDER BY start_time DESC, counter_id DESC
LIMIT $4::integer;

-- name: select_counters
-- Counters as they stand, without locks: for those who only look.
SELECT
    scope::text AS scope, counter_id, rank, metric, window_kind, period, time_zone, anchor,
    length_us, slot_count, refill_amount, start_time, end_time, held, settled, overrun,
    high_cap, limit_id, alerted_percent, statistical, last_use_time, expire_time_max, arrival,
    slot_indices, slot_held, slot_settled
FROM counter
WHERE counter_id IN (SELECT unnest($1::uuid []));

-- name: select_reservations
-- What is known of calls, open and ended, for reports that come without a permit.
SELECT
    k.ordinal, r.org, r.call_id, r.operation, r.provider, r.model, r.held_nanos, r.held_tokens,
    r.admit_time, r.expire_time, r.price_version, r.breaker_epoch, 1::smallint AS state
FROM unnest($1::text [], $2::uuid [], $3::date []) WITH ORDINALITY
    AS k (org, call_id, id_day, ordinal)
INNER JOIN reservation AS r ON k.org = r.org AND k.call_id = r.call_id
UNION ALL
SELECT
    k.ordinal, e.org, e.call_id, e.operation, e.provider, e.model, e.held_nanos, e.held_tokens,
    e.admit_time, e.expire_time, e.price_version, e.breaker_epoch, e.state
FROM unnest($1::text [], $2::uuid [], $3::date []) WITH ORDINALITY
    AS k (org, call_id, id_day, ordinal)
INNER JOIN ended_reservation AS e
    ON k.org = e.org AND k.call_id = e.call_id AND e.id_day IN (k.id_day, '1970-01-01')
WHERE
    e.set_id IS NOT NULL
    -- The other days' partitions are not even opened.
    AND (e.id_day BETWEEN $4::date AND $5::date OR e.id_day = '1970-01-01');
