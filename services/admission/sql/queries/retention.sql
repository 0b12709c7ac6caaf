-- name: select_old_partitions
-- Days before the given one that have a partition of ended calls.
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits AS i
INNER JOIN pg_class AS c ON i.inhrelid = c.oid
WHERE
    i.inhparent = 'ended_reservation'::regclass
    AND c.relname ~ '^ended_reservation_[0-9]{8}$'
    AND to_date(right(c.relname, 8), 'YYYYMMDD') < $1::date
ORDER BY day;

-- name: drop_ended_partition
SELECT drop_ended_partition($1::date);

-- name: forget_ended
SELECT forget_ended($1::date, $2::timestamptz, $3::integer);

-- name: delete_old_counters
-- Counters of windows that ended before the horizon: nothing is charged to them any more.
WITH doomed AS (
    SELECT c.counter_id
    FROM counter AS c
    WHERE c.end_time < $1::timestamptz AND c.held = 0
    ORDER BY c.rank, c.counter_id
    LIMIT $2::integer
    FOR UPDATE SKIP LOCKED
),

gone AS (
    DELETE FROM counter AS c
    USING doomed AS d
    WHERE c.counter_id = d.counter_id
    RETURNING 1
)

SELECT count(*) FROM gone;

-- name: delete_old_sets
-- Sets on which no call was admitted since the horizon.
WITH doomed AS (
    SELECT s.set_id
    FROM counter_set AS s
    WHERE
        s.end_time < $1::timestamptz
        AND NOT EXISTS (SELECT FROM reservation AS r WHERE r.set_id = s.set_id)
    ORDER BY s.set_id
    LIMIT $2::integer
),

gone AS (
    DELETE FROM counter_set AS s
    USING doomed AS d
    WHERE s.set_id = d.set_id
    RETURNING 1
)

SELECT count(*) FROM gone;

-- name: delete_old_violations
WITH doomed AS (
    SELECT v.minute, v.limit_id, v.org, v.shadow
    FROM violation_minute AS v
    WHERE v.minute < $1::timestamptz
    ORDER BY v.minute, v.limit_id, v.org, v.shadow
    LIMIT $2::integer
),

gone AS (
    DELETE FROM violation_minute AS v
    USING doomed AS d
    WHERE
        v.minute = d.minute AND v.limit_id = d.limit_id AND v.org = d.org AND v.shadow = d.shadow
    RETURNING 1
)

SELECT count(*) FROM gone;

-- name: delete_old_crossings
WITH doomed AS (
    SELECT c.crossing_id
    FROM crossing AS c
    WHERE c.cross_time < $1::timestamptz AND c.end_time < $1::timestamptz
    ORDER BY c.crossing_id
    LIMIT $2::integer
),

gone AS (
    DELETE FROM crossing AS c
    USING doomed AS d
    WHERE c.crossing_id = d.crossing_id
    RETURNING 1
)

SELECT count(*) FROM gone;
