-- name: list_log_days
-- Past days, at most $1 back, that have a partition of the log.
SELECT p.day
FROM (
    SELECT
        to_date(right(c.relname, 8), 'YYYYMMDD') AS day,
        (clock_timestamp() AT TIME ZONE 'UTC')::date AS today
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage_log'::regclass
) AS p
WHERE p.day < p.today AND p.day >= p.today - $1::integer
ORDER BY p.day;

-- name: list_rollup_differences
-- Log and rollups are written in one transaction, so in one snapshot they agree, or are wrong.
-- The platform's row has an empty org.
WITH logged AS (
    SELECT l AS sums FROM sum_log_org_day($1::date) AS l
),

rolled_up AS (
    SELECT r AS sums
    FROM rollup_org_day AS r
    WHERE r.day = $1::date AND NOT (r.call_count = 0 AND r.cost_nanos = 0)
)

SELECT
    coalesce((l.sums).org, (r.sums).org) AS org,
    coalesce((l.sums).operation, (r.sums).operation) AS operation,
    coalesce((l.sums).provider, (r.sums).provider) AS provider,
    coalesce((l.sums).model, (r.sums).model) AS model,
    coalesce((l.sums).call_count, 0) AS logged_count,
    coalesce((r.sums).call_count, 0) AS rolled_up_count,
    coalesce((l.sums).cost_nanos, 0)::text AS logged_nanos,
    coalesce((r.sums).cost_nanos, 0)::text AS rolled_up_nanos
FROM logged AS l
FULL JOIN rolled_up AS r
    ON
        (l.sums).org = (r.sums).org
        AND (l.sums).operation = (r.sums).operation
        AND (l.sums).provider = (r.sums).provider
        AND (l.sums).model = (r.sums).model
WHERE l.sums IS DISTINCT FROM r.sums
UNION ALL
SELECT
    '',
    '',
    '',
    '',
    l.call_count,
    coalesce(r.call_count, 0),
    l.cost_nanos::text,
    coalesce(r.cost_nanos, 0)::text
FROM sum_log_platform_day($1::date) AS l
LEFT JOIN rollup_platform_day AS r ON r.day = l.day
WHERE l IS DISTINCT FROM r AND NOT (r.day IS NULL AND l.call_count = 0);

-- name: insert_missing_org_rollups!
-- In a transaction of its own: rows that are inserted before others are locked would break the
-- order of locks. In key order, as all writers.
INSERT INTO rollup_org_day (day, org, operation, provider, model)
SELECT l.day, l.org, l.operation, l.provider, l.model
FROM sum_log_org_day($1::date) AS l
ORDER BY l.day, l.org, l.operation, l.provider, l.model
ON CONFLICT (day, org, operation, provider, model) DO NOTHING;

-- name: insert_missing_platform_rollup!
INSERT INTO rollup_platform_day (day) VALUES ($1::date)
ON CONFLICT (day) DO NOTHING;

-- name: lock_org_rollups
-- In key order, and before the platform's, as record_usage.
SELECT r.org
FROM rollup_org_day AS r
WHERE r.day = $1::date
ORDER BY r.org, r.operation, r.provider, r.model
FOR UPDATE;

-- name: lock_platform_rollup
-- Last, as in record_usage: from here on nobody else commits a change of this day's sums.
SELECT r.call_count FROM rollup_platform_day AS r WHERE r.day = $1::date FOR UPDATE;

-- name: repair_org_rollups!
-- A statement after the locks, so that it sees all that was committed before them.
UPDATE rollup_org_day AS r
SET
    (
        call_count, failed_count, unreported_count, cost_nanos, unreported_cost_nanos,
        input_token_count, cache_read_token_count, cache_write_5m_token_count,
        cache_write_1h_token_count, output_token_count, reasoning_token_count
    ) = (
        l.call_count, l.failed_count, l.unreported_count, l.cost_nanos, l.unreported_cost_nanos,
        l.input_token_count, l.cache_read_token_count, l.cache_write_5m_token_count,
        l.cache_write_1h_token_count, l.output_token_count, l.reasoning_token_count
    )
FROM sum_log_org_day($1::date) AS l
WHERE
    r.day = l.day
    AND r.org = l.org
    AND r.operation = l.operation
    AND r.provider = l.provider
    AND r.model = l.model
    AND r IS DISTINCT FROM l;

-- name: delete_unfounded_org_rollups!
DELETE FROM rollup_org_day AS r
WHERE r.day = $1::date AND NOT EXISTS (
    SELECT 1
    FROM usage_log AS l
    WHERE
        l.admit_time >= $1::date::timestamp AT TIME ZONE 'UTC'
        AND l.admit_time < ($1::date + 1)::timestamp AT TIME ZONE 'UTC'
        AND l.org = r.org
        AND l.operation = r.operation
        AND l.provider = r.provider
        AND l.model = r.model
);

-- name: repair_platform_rollup!
UPDATE rollup_platform_day AS r
SET
    (
        call_count, failed_count, unreported_count, cost_nanos, unreported_cost_nanos,
        input_token_count, cache_read_token_count, cache_write_5m_token_count,
        cache_write_1h_token_count, output_token_count, reasoning_token_count
    ) = (
        l.call_count, l.failed_count, l.unreported_count, l.cost_nanos, l.unreported_cost_nanos,
        l.input_token_count, l.cache_read_token_count, l.cache_write_5m_token_count,
        l.cache_write_1h_token_count, l.output_token_count, l.reasoning_token_count
    )
FROM sum_log_platform_day($1::date) AS l
WHERE r.day = l.day AND r IS DISTINCT FROM l;
