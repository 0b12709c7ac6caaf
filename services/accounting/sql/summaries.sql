-- Sums of usage. $1 is the period: 0 none, 1 hour, 2 day, 3 month; $2 to $6 say what else splits the
-- sums. A page of $16 rows begins after the key of $7 to $14, unless $15 says that it is the first.

-- name: sum_rollups
-- $17 to $19 are parallel: levels, whether their rows count for a value of the dimension or for the
-- calls without one, and with which sign: calls without a value are those of the org's day less
-- those with one.
SELECT
    page.day, page.hour, page.org, page.operation, page.provider, page.model, page.has_value,
    page.value, page.call_count, page.failed_count, page.unreported_count, page.cost_nanos,
    page.unreported_cost_nanos, page.baseline_nanos, page.latency_histogram,
    page.input_token_count, page.cache_read_token_count, page.cache_write_5m_token_count,
    page.cache_write_1h_token_count, page.output_token_count, page.reasoning_token_count,
    page.audio_input_token_count, page.audio_cache_read_token_count, page.audio_output_token_count,
    page.image_input_token_count, page.image_cache_read_token_count, page.image_output_token_count,
    page.image_count, page.character_count, page.audio_ms, page.video_ms, page.web_search_count,
    page.file_search_count, page.page_count, page.code_session_count, page.saved_nanos,
    page.approved_count
FROM (
    SELECT
        CASE $1::smallint
            WHEN 0 THEN '-infinity'::date
            WHEN 3 THEN date_trunc('month', r.day)::date
            ELSE r.day
        END AS day,
        CASE
            WHEN $1::smallint = 1 THEN r.hour
            ELSE 0
        END::smallint AS hour,
        CASE WHEN $2::boolean THEN r.org ELSE '' END AS org,
        CASE WHEN $3::boolean THEN r.operation ELSE '' END AS operation,
        CASE WHEN $4::boolean THEN r.provider ELSE '' END AS provider,
        CASE WHEN $5::boolean THEN r.model ELSE '' END AS model,
        CASE WHEN $6::boolean THEN s.is_value ELSE FALSE END AS has_value,
        CASE WHEN $6::boolean AND s.is_value THEN r.value ELSE '' END AS value,
        sum(r.call_count * s.sign) AS call_count,
        sum(r.failed_count * s.sign) AS failed_count,
        sum(r.unreported_count * s.sign) AS unreported_count,
        sum(r.cost_nanos * s.sign) AS cost_nanos,
        sum(r.unreported_cost_nanos * s.sign) AS unreported_cost_nanos,
        sum(r.baseline_nanos * s.sign) AS baseline_nanos,
        sum(r.latency_histogram * s.sign) AS latency_histogram,
        sum(r.input_token_count * s.sign) AS input_token_count,
        sum(r.cache_read_token_count * s.sign) AS cache_read_token_count,
        sum(r.cache_write_5m_token_count * s.sign) AS cache_write_5m_token_count,
        sum(r.cache_write_1h_token_count * s.sign) AS cache_write_1h_token_count,
        sum(r.output_token_count * s.sign) AS output_token_count,
        sum(r.reasoning_token_count * s.sign) AS reasoning_token_count,
        sum(r.audio_input_token_count * s.sign) AS audio_input_token_count,
        sum(r.audio_cache_read_token_count * s.sign) AS audio_cache_read_token_count,
        sum(r.audio_output_token_count * s.sign) AS audio_output_token_count,
        sum(r.image_input_token_count * s.sign) AS image_input_token_count,
        sum(r.image_cache_read_token_count * s.sign) AS image_cache_read_token_count,
        sum(r.image_output_token_count * s.sign) AS image_output_token_count,
        sum(r.image_count * s.sign) AS image_count,
        sum(r.character_count * s.sign) AS character_count,
        sum(r.audio_ms * s.sign) AS audio_ms,
        sum(r.video_ms * s.sign) AS video_ms,
        sum(r.web_search_count * s.sign) AS web_search_count,
        sum(r.file_search_count * s.sign) AS file_search_count,
        sum(r.page_count * s.sign) AS page_count,
        sum(r.code_session_count * s.sign) AS code_session_count,
        sum(r.saved_nanos * s.sign) AS saved_nanos,
        sum(r.approved_count * s.sign) AS approved_count
    FROM rollup AS r
    INNER JOIN
        unnest($17::smallint[], $18::boolean[], $19::integer[]) AS s (level, is_value, sign)
        ON r.level = s.level
    WHERE
        r.level = any($17::smallint[])
        AND r.org BETWEEN $20::text AND $21::text
        AND r.day BETWEEN $22::date AND $24::date
        AND (r.day, r.hour) >= ($22::date, $23::smallint)
        AND (r.day, r.hour) < ($24::date, $25::smallint)
        AND ($26::text = '' OR r.operation = $26::text)
        AND ($27::text = '' OR r.provider = $27::text)
        AND ($28::text = '' OR r.model = $28::text)
        AND (r.level <> 3 OR r.dimension = $29::text)
        AND (r.level <> 3 OR $30::text = '' OR r.value = $30::text)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    HAVING sum(r.call_count * s.sign) <> 0 OR sum(r.cost_nanos * s.sign) <> 0
) AS page
WHERE
    $15::boolean
    OR (
        page.day, page.hour, page.org, page.operation, page.provider, page.model, page.has_value,
        page.value
    ) > (
        $7::date, $8::smallint, $9::text, $10::text, $11::text, $12::text, $13::boolean, $14::text
    )
ORDER BY
    page.day, page.hour, page.org, page.operation, page.provider, page.model, page.has_value,
    page.value
LIMIT $16::integer;

-- name: sum_usage_log
-- $26 is the dimension whose values split the sums.
SELECT
    page.day, page.hour, page.org, page.operation, page.provider, page.model, page.has_value,
    page.value, page.call_count, page.failed_count, page.unreported_count, page.cost_nanos,
    page.unreported_cost_nanos, page.baseline_nanos, page.latency_histogram,
    page.input_token_count, page.cache_read_token_count, page.cache_write_5m_token_count,
    page.cache_write_1h_token_count, page.output_token_count, page.reasoning_token_count,
    page.audio_input_token_count, page.audio_cache_read_token_count, page.audio_output_token_count,
    page.image_input_token_count, page.image_cache_read_token_count, page.image_output_token_count,
    page.image_count, page.character_count, page.audio_ms, page.video_ms, page.web_search_count,
    page.file_search_count, page.page_count, page.code_session_count, page.saved_nanos,
    page.approved_count
FROM (
    SELECT
        CASE $1::smallint
            WHEN 0 THEN '-infinity'::date
            WHEN 3 THEN date_trunc('month', (l.admit_time AT TIME ZONE 'UTC')::date)::date
            ELSE (l.admit_time AT TIME ZONE 'UTC')::date
        END AS day,
        CASE
            WHEN $1::smallint = 1 THEN extract(HOUR FROM l.admit_time AT TIME ZONE 'UTC')
            ELSE 0
        END::smallint AS hour,
        CASE WHEN $2::boolean THEN l.org ELSE '' END AS org,
        CASE WHEN $3::boolean THEN l.operation ELSE '' END AS operation,
        CASE WHEN $4::boolean THEN l.provider ELSE '' END AS provider,
        CASE WHEN $5::boolean THEN l.model ELSE '' END AS model,
        CASE WHEN $6::boolean THEN v.value IS NOT NULL ELSE FALSE END AS has_value,
        CASE WHEN $6::boolean AND v.value IS NOT NULL THEN v.value ELSE '' END AS value,
        count(*) FILTER (WHERE l.revision = 1) AS call_count,
        count(*) FILTER (WHERE l.revision = 1 AND l.outcome <> 1) AS failed_count,
        count(*) FILTER (WHERE l.revision = 1 AND l.cost_basis = 2)
        + coalesce(sum(l.unreported_delta_count), 0) AS unreported_count,
        sum(coalesce(l.delta_nanos, l.total_nanos)) AS cost_nanos,
        coalesce(
            sum(l.total_nanos) FILTER (WHERE l.revision = 1 AND l.cost_basis = 2), 0
        ) + coalesce(sum(l.unreported_delta_nanos), 0) AS unreported_cost_nanos,
        sum(l.baseline_nanos) AS baseline_nanos,
        coalesce(
            sum(latency_weight(l.latency_ms)) FILTER (WHERE l.outcome = 1), 0
        ) AS latency_histogram,
        coalesce(sum(l.input_token_count), 0) AS input_token_count,
        coalesce(sum(l.cache_read_token_count), 0) AS cache_read_token_count,
        coalesce(sum(l.cache_write_5m_token_count), 0) AS cache_write_5m_token_count,
        coalesce(sum(l.cache_write_1h_token_count), 0) AS cache_write_1h_token_count,
        coalesce(sum(l.output_token_count), 0) AS output_token_count,
        coalesce(sum(l.reasoning_token_count), 0) AS reasoning_token_count,
        sum(l.audio_input_token_count) AS audio_input_token_count,
        sum(l.audio_cache_read_token_count) AS audio_cache_read_token_count,
        sum(l.audio_output_token_count) AS audio_output_token_count,
        sum(l.image_input_token_count) AS image_input_token_count,
        sum(l.image_cache_read_token_count) AS image_cache_read_token_count,
        sum(l.image_output_token_count) AS image_output_token_count,
        sum(l.image_count) AS image_count,
        sum(l.character_count) AS character_count,
        sum(l.audio_ms) AS audio_ms,
        sum(l.video_ms) AS video_ms,
        sum(l.web_search_count) AS web_search_count,
        sum(l.file_search_count) AS file_search_count,
        sum(l.page_count) AS page_count,
        sum(l.code_session_count) AS code_session_count,
        sum(l.baseline_nanos - coalesce(l.delta_nanos, l.total_nanos)) AS saved_nanos,
        count(*) FILTER (WHERE l.revision = 1 AND l.approved) AS approved_count
    FROM usage_log AS l
    CROSS JOIN LATERAL (
        SELECT
            CASE $26::text
                WHEN 'user' THEN l.user_name
                WHEN 'team' THEN l.team
                WHEN 'feature' THEN l.feature
                WHEN 'api_key' THEN nullif(l.api_key_id, '')
                ELSE l.labels ->> substr($26::text, 7)
            END AS value
    ) AS v
    WHERE
        l.admit_time >= $17::timestamptz
        AND l.admit_time < $18::timestamptz
        AND l.org BETWEEN $19::text AND $20::text
        AND ($21::text = '' OR l.operation = $21::text)
        AND ($22::text = '' OR l.provider = $22::text)
        AND ($23::text = '' OR l.model = $23::text)
        AND ($24::text = '' OR l.api_key_id = $24::text)
        AND ($25::text = '' OR l.user_name = $25::text)
        AND ($27::text = '' OR l.team = $27::text)
        AND ($28::text = '' OR l.feature = $28::text)
        AND ($29::jsonb IS NULL OR l.labels @> $29::jsonb)
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
) AS page
WHERE
    $15::boolean
    OR (
        page.day, page.hour, page.org, page.operation, page.provider, page.model, page.has_value,
        page.value
    ) > (
        $7::date, $8::smallint, $9::text, $10::text, $11::text, $12::text, $13::boolean, $14::text
    )
ORDER BY
    page.day, page.hour, page.org, page.operation, page.provider, page.model, page.has_value,
    page.value
LIMIT $16::integer;

-- name: plan_for_values!
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: is_rolled_up
-- Whether a label had rollups on all days from $2 on.
SELECT count(*) > 0 AS is_rolled_up
FROM rolled_up_label AS k
WHERE k.label = $1::text AND k.since_day <= $2::date;

-- name: list_dropped_days
-- Days whose log was summed up and dropped.
SELECT s.day
FROM sealed_day AS s
WHERE
    s.day BETWEEN $1::date AND $2::date
    AND to_regclass('usage_log_' || to_char(s.day, 'YYYYMMDD')) IS NULL
ORDER BY s.day;
