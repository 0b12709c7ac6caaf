-- name: list_operation_days
-- What each org used of each operation today so far and in the week before, of those that used
-- any today. $1: days of a week.
WITH t AS (
    SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS day
)

SELECT
    r.org,
    r.operation,
    t.day AS today,
    sum(r.cost_nanos) FILTER (WHERE r.day = t.day) AS cost_nanos,
    sum(r.call_count) FILTER (WHERE r.day = t.day) AS call_count,
    coalesce(sum(r.cost_nanos) FILTER (WHERE r.day < t.day), 0) AS week_cost_nanos,
    coalesce(sum(r.call_count) FILTER (WHERE r.day < t.day), 0) AS week_call_count,
    coalesce(t.day - min(r.day) FILTER (WHERE r.day < t.day AND r.call_count > 0), 0)
        AS usual_day_count
FROM rollup AS r
CROSS JOIN t
WHERE r.level = 2 AND r.day BETWEEN t.day - $1::integer AND t.day
GROUP BY r.org, r.operation, t.day
HAVING sum(r.call_count) FILTER (WHERE r.day = t.day) > 0;

-- name: list_hours
-- Spend by hour from the rollups, sparse. Empty: all orgs, all operations.
SELECT
    r.day,
    r.hour,
    sum(r.cost_nanos) AS cost_nanos
FROM rollup AS r
WHERE
    r.level = 1
    AND r.day >= $1::date
    AND ($2::text = '' OR r.org = $2::text)
    AND ($3::text = '' OR r.operation = $3::text)
    AND ($4::text = '' OR r.provider = $4::text)
    AND ($5::text = '' OR r.model = $5::text)
GROUP BY r.day, r.hour;
