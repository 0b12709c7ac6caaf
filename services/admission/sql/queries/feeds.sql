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
        -- The other days' partitions are not even opened.
        AND (e.id_day BETWEEN $5::date AND $6::date OR e.id_day = '1970-01-01')
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

-- name: list_crossings
-- Only rows of transactions below every one that still runs: a row that commits late with a smaller
-- position would be skipped otherwise.
SELECT
    xid::text::bigint AS transaction_id, crossing_id, counter_id, limit_id, scope::text AS scope,
    metric, start_time, end_time, percent, cap, settled, owner, cross_time
FROM crossing
WHERE
    xid < pg_snapshot_xmin(pg_current_snapshot())
    AND (xid, crossing_id) > ($1::bigint::text::xid8, $2::bigint)
ORDER BY crossing.xid, crossing.crossing_id
LIMIT $3::integer;

-- name: add_shares!
-- Adds to the histograms of shares, in key order.
INSERT INTO share_bucket (operation, provider, model, bucket, call_count)
SELECT n.operation, n.provider, n.model, n.bucket, n.call_count
FROM unnest($1::text [], $2::text [], $3::text [], $4::smallint [], $5::bigint [])
    AS n (operation, provider, model, bucket, call_count)
ORDER BY n.operation, n.provider, n.model, n.bucket
ON CONFLICT (operation, provider, model, bucket) DO UPDATE
SET call_count = share_bucket.call_count + excluded.call_count;

-- name: select_shares
SELECT operation, provider, model, bucket, call_count FROM share_bucket;

-- name: halve_shares!
-- Lets the past count less: half of it, once a day.
UPDATE share_bucket SET call_count = (call_count + 1) / 2 WHERE call_count > 1;

-- name: add_violations!
-- Adds counts of violations, in key order.
INSERT INTO violation_minute (minute, limit_id, org, shadow, call_count, requested_nanos)
SELECT n.minute, n.limit_id, n.org, n.shadow, n.call_count, n.requested_nanos
FROM unnest(
    $1::timestamptz [], $2::text [], $3::text [], $4::boolean [], $5::bigint [], $6::numeric []
) AS n (minute, limit_id, org, shadow, call_count, requested_nanos)
ORDER BY n.minute, n.limit_id, n.org, n.shadow
ON CONFLICT (minute, limit_id, org, shadow) DO UPDATE SET
call_count = violation_minute.call_count + excluded.call_count,
requested_nanos = violation_minute.requested_nanos + excluded.requested_nanos;

-- name: put_samples!
-- Writes samples of violations into their limits' places, over older ones.
INSERT INTO violation_sample (
    limit_id, place, violation_time, org, call_id, operation, violation
)
SELECT n.limit_id, n.place, n.violation_time, n.org, n.call_id, n.operation, n.violation
FROM unnest(
    $1::text [], $2::smallint [], $3::timestamptz [], $4::text [], $5::uuid [], $6::text [],
    $7::bytea []
) AS n (limit_id, place, violation_time, org, call_id, operation, violation)
ORDER BY n.limit_id, n.place
ON CONFLICT (limit_id, place) DO UPDATE SET
violation_time = excluded.violation_time, org = excluded.org, call_id = excluded.call_id,
operation = excluded.operation, violation = excluded.violation;

-- name: select_violations_page
-- Newest minute first.
SELECT minute, limit_id, org, shadow, call_count, requested_nanos
FROM violation_minute
WHERE
    ($1::text = '' OR limit_id = $1::text) AND ($2::text = '' OR org = $2::text)
    AND (
        $3::timestamptz IS NULL
        OR (minute, limit_id, org, shadow)
        < ($3::timestamptz, $4::text, $5::text, $6::boolean)
    )
ORDER BY minute DESC, limit_id DESC, org DESC, shadow DESC
LIMIT $7::integer;

-- name: select_samples
SELECT violation_time, org, call_id, operation, violation
FROM violation_sample
WHERE limit_id = $1::text AND ($2::text = '' OR org = $2::text)
ORDER BY violation_time DESC, place DESC
LIMIT 100;

-- name: sum_violations
-- What was denied in an interval, each call once as far as is known: by the limit that denied most.
SELECT
    coalesce(sum(m.call_count), 0)::bigint AS call_count,
    coalesce(sum(m.requested_nanos), 0) AS requested_nanos
FROM (
    SELECT max(v.call_count) AS call_count, max(v.requested_nanos) AS requested_nanos
    FROM violation_minute AS v
    WHERE
        v.minute >= $1::timestamptz AND v.minute < $2::timestamptz AND NOT v.shadow
        AND ($3::text = '' OR v.org = $3::text)
    GROUP BY v.minute, v.org
) AS m;
