-- name: list_log_days
-- Past days, at most $1 back, that have a partition of the log.
SELECT p.day
FROM (
    SELECT
        to_date(right(c.relname, 8), 'YYYYMMDD') AS day,
        (clock_timestamp() AT TIME ZONE 'UTC')::date AS today
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage_entry'::regclass
) AS p
WHERE p.day < p.today AND p.day >= p.today - $1::integer
ORDER BY p.day;

-- name: list_rollup_differences
-- Log and rollups are written in one transaction, so in one snapshot they agree, or are wrong.
WITH logged AS (
    SELECT l AS sums FROM sum_log_day($1::date) AS l
),

rolled_up AS (
    SELECT r AS sums
    FROM rollup AS r
    WHERE r.day = $1::date AND NOT (r.call_count = 0 AND r.cost_nanos = 0)
)

SELECT
    coalesce((l.sums).level, (r.sums).level) AS level,
    coalesce((l.sums).org, (r.sums).org) AS org,
    coalesce((l.sums).hour, (r.sums).hour) AS hour,
    coalesce((l.sums).dimension, (r.sums).dimension) AS dimension,
    coalesce((l.sums).value, (r.sums).value) AS value,
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
        (l.sums).level = (r.sums).level
        AND (l.sums).org = (r.sums).org
        AND (l.sums).day = (r.sums).day
        AND (l.sums).hour = (r.sums).hour
        AND (l.sums).dimension = (r.sums).dimension
        AND (l.sums).value = (r.sums).value
        AND (l.sums).operation = (r.sums).operation
        AND (l.sums).provider = (r.sums).provider
        AND (l.sums).model = (r.sums).model
WHERE l.sums IS DISTINCT FROM r.sums
ORDER BY 1, 2, 3, 4, 5, 6, 7, 8;

-- name: insert_missing_rollups!
-- In a transaction of its own: rows that are inserted before others are locked would break the
-- order of locks. In key order, as all writers.
INSERT INTO rollup (
    level, org, day, hour, dimension, value, operation, provider, model
)
SELECT
    l.level, l.org, l.day, l.hour, l.dimension, l.value, l.operation, l.provider, l.model
FROM sum_log_day($1::date) AS l
ORDER BY
    l.level, l.org, l.day, l.hour, l.dimension, l.value, l.operation, l.provider, l.model
ON CONFLICT (level, org, day, hour, dimension, value, operation, provider, model) DO NOTHING;

-- name: lock_rollups
-- In key order as all writers, the platform's last: from here on nobody else commits a change of
-- this day's sums.
SELECT r.level
FROM rollup AS r
WHERE r.day = $1::date
ORDER BY
    r.level, r.org, r.day, r.hour, r.dimension, r.value, r.operation, r.provider, r.model
FOR UPDATE;

-- name: repair_rollups!
-- A statement after the locks, so that it sees all that was committed before them.
UPDATE rollup AS r
SET
    (
        call_count, failed_count, unreported_count, cost_nanos, unreported_cost_nanos,
        baseline_nanos, latency_histogram, input_token_count, cache_read_token_count,
        cache_write_5m_token_count, cache_write_1h_token_count, output_token_count,
        reasoning_token_count, audio_input_token_count, audio_cache_read_token_count,
        audio_output_token_count, image_input_token_count, image_cache_read_token_count,
        image_output_token_count, image_count, character_count, audio_ms, video_ms,
        web_search_count, file_search_count, page_count, code_session_count, saved_nanos,
        approved_count
    ) = (
        l.call_count, l.failed_count, l.unreported_count, l.cost_nanos, l.unreported_cost_nanos,
        l.baseline_nanos, l.latency_histogram, l.input_token_count, l.cache_read_token_count,
        l.cache_write_5m_token_count, l.cache_write_1h_token_count, l.output_token_count,
        l.reasoning_token_count, l.audio_input_token_count, l.audio_cache_read_token_count,
        l.audio_output_token_count, l.image_input_token_count, l.image_cache_read_token_count,
        l.image_output_token_count, l.image_count, l.character_count, l.audio_ms, l.video_ms,
        l.web_search_count, l.file_search_count, l.page_count, l.code_session_count, l.saved_nanos,
        l.approved_count
    )
FROM sum_log_day($1::date) AS l
WHERE
    r.day = $1::date
    AND r.level = l.level
    AND r.org = l.org
    AND r.day = l.day
    AND r.hour = l.hour
    AND r.dimension = l.dimension
    AND r.value = l.value
    AND r.operation = l.operation
    AND r.provider = l.provider
    AND r.model = l.model
    AND r IS DISTINCT FROM l;

-- name: delete_unfounded_rollups!
DELETE FROM rollup AS r
WHERE r.day = $1::date AND NOT EXISTS (
    SELECT 1
    FROM sum_log_day($1::date) AS l
    WHERE
        r.level = l.level
        AND r.org = l.org
        AND r.day = l.day
        AND r.hour = l.hour
        AND r.dimension = l.dimension
        AND r.value = l.value
        AND r.operation = l.operation
        AND r.provider = l.provider
        AND r.model = l.model
);

-- name: lock_bounds
-- In a transaction of its own: bookings lock bounds before rollups. Whoever brings a new value holds
-- its bound until the end, so under these locks the counts stand still.
SELECT b.value_count
FROM dimension_bound AS b
WHERE b.day = $1::date
ORDER BY b.org, b.day, b.dimension
FOR UPDATE;

-- name: recount_bounds!
-- After repairs, a dimension's count is that of its rollups again.
INSERT INTO dimension_bound AS b (org, day, dimension, value_count)
SELECT r.org, r.day, r.dimension, count(*)
FROM rollup_dimension_day AS r
WHERE r.day = $1::date AND r.value <> ''
GROUP BY r.org, r.day, r.dimension
ORDER BY r.org, r.day, r.dimension
ON CONFLICT (org, day, dimension) DO UPDATE SET value_count = excluded.value_count
WHERE b.value_count <> excluded.value_count;
