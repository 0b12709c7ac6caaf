-- name: record_feedback
SELECT record_feedback(
    $1::text, $2::uuid, $3::text, $4::integer, $5::date, $6::text, $7::text, $8::text, $9::integer
) AS status;

-- name: find_rated_call
-- Where a booked call went, and when it was admitted.
SELECT admit_time, operation, provider, model
FROM usage_log
WHERE org = $1::text AND call_id = $2::uuid
ORDER BY admit_time DESC, revision ASC
LIMIT 1;

-- name: sum_feedback
-- Sums by metric, split as $1 to $5 say: period (0 none, 2 day, 3 month), org, operation, provider,
-- model; from the key of $13 to $17 to that of $18 to $22.
SELECT
    f.day,
    f.org,
    f.operation,
    f.provider,
    f.model,
    f.metric,
    f.score_count,
    f.score_micros
FROM (
    SELECT
        CASE $1::smallint
            WHEN 0 THEN '-infinity'::date
            WHEN 3 THEN date_trunc('month', r.day)::date
            ELSE r.day
        END AS day,
        CASE WHEN $2::boolean THEN r.org ELSE '' END AS org,
        CASE WHEN $3::boolean THEN r.operation ELSE '' END AS operation,
        CASE WHEN $4::boolean THEN r.provider ELSE '' END AS provider,
        CASE WHEN $5::boolean THEN r.model ELSE '' END AS model,
        r.metric,
        sum(r.score_count)::bigint AS score_count,
        sum(r.score_micros)::bigint AS score_micros
    FROM feedback_rollup AS r
    WHERE
        r.day >= $6::date
        AND r.day < $7::date
        AND r.org BETWEEN $8::text AND $9::text
        AND ($10::text = '' OR r.operation = $10::text)
        AND ($11::text = '' OR r.provider = $11::text)
        AND ($12::text = '' OR r.model = $12::text)
    GROUP BY 1, 2, 3, 4, 5, 6
) AS f
WHERE
    (f.day, f.org, f.operation, f.provider, f.model)
    >= ($13::date, $14::text, $15::text, $16::text, $17::text)
    AND (f.day, f.org, f.operation, f.provider, f.model)
    <= ($18::date, $19::text, $20::text, $21::text, $22::text);

-- name: delete_old_feedback
-- What is older than the log of its calls; the sums stay.
WITH deleted AS (
    DELETE FROM feedback
    WHERE day < (clock_timestamp() AT TIME ZONE 'UTC')::date - $1::integer
    RETURNING day
)

SELECT count(*) AS deleted_count
FROM deleted;
