-- name: close_month
SELECT close_month($1::date, $2::text) AS status;

-- name: list_open_months
-- Ended months from the first with usage, or the one after the last closed one, that ended at least
-- $1 days ago.
SELECT g.month::date AS month
FROM generate_series(
    (
        SELECT date_trunc('month', min(r.day)::timestamp)
        FROM rollup_platform_day AS r
        WHERE
            r.day >= coalesce(
                (SELECT (max(c.month) + interval '1 month')::date FROM closed_month AS c),
                '-infinity'
            )
    ),
    date_trunc(
        'month', (clock_timestamp() AT TIME ZONE 'UTC') - make_interval(days => $1::integer)
    ) - interval '1 month',
    interval '1 month'
) AS g (month)
ORDER BY g.month;

-- name: list_statements
-- Newest first, before $2, of one org or, if $1 is empty, of the platform.
SELECT
    c.month,
    c.close_time,
    coalesce(sum(l.call_count), 0)::bigint AS call_count,
    coalesce(sum(l.cost_nanos), 0) AS cost_nanos,
    coalesce(sum(l.cost_nanos) FILTER (WHERE l.usage_month < c.month), 0) AS correction_nanos
FROM closed_month AS c
LEFT JOIN statement_line AS l ON l.month = c.month AND ($1::text = '' OR l.org = $1::text)
WHERE c.month < $2::date
GROUP BY c.month, c.close_time
ORDER BY c.month DESC
LIMIT $3::integer;

-- name: list_statement_lines
-- Of an org by operation, provider and model; of the platform by org. After the line that $4 to $8
-- name.
SELECT
    g.usage_month,
    g.org,
    g.operation,
    g.provider,
    g.model,
    g.call_count,
    g.cost_nanos
FROM (
    SELECT
        l.usage_month,
        l.org,
        CASE WHEN $2::text = '' THEN '' ELSE l.operation END AS operation,
        CASE WHEN $2::text = '' THEN '' ELSE l.provider END AS provider,
        CASE WHEN $2::text = '' THEN '' ELSE l.model END AS model,
        sum(l.call_count)::bigint AS call_count,
        sum(l.cost_nanos) AS cost_nanos
    FROM statement_line AS l
    WHERE
        l.month = $1::date
        AND ($2::text = '' OR l.org = $2::text)
        AND (l.usage_month, l.org) >= ($4::date, $5::text)
    GROUP BY 1, 2, 3, 4, 5
) AS g
WHERE
    (g.usage_month, g.org, g.operation, g.provider, g.model)
    > ($4::date, $5::text, $6::text, $7::text, $8::text)
ORDER BY g.usage_month, g.org, g.operation, g.provider, g.model
LIMIT $3::integer;
