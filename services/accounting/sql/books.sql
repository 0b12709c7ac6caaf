-- name: find_call
-- The newest revision of a call, whenever it was admitted.
SELECT admit_time, revision, total_nanos, cost_basis, price_version
FROM usage_log
WHERE org = $1::text AND call_id = $2::uuid
ORDER BY revision DESC
LIMIT 1;

-- name: correct_usage
SELECT correct_usage(
    $1::text[], $2::uuid[], $3::timestamptz[], $4::integer[], $5::bigint[], $6::smallint[],
    $7::bigint[], $8::text, $9::text, $10::integer
) AS corrected_count;

-- name: find_correction
-- What an earlier request with the same audit id did.
SELECT total_nanos, revision
FROM usage_log
WHERE org = $1::text AND call_id = $2::uuid AND audit_id = $3::text;

-- name: list_priced_calls
-- Calls that were charged by meters, or would have been if they had had a price; with what stands
-- for them now. What staff said is left alone. Of one day, by org and id, as its partition has
-- them, after the call that $6 to $8 name.
SELECT
    l.org,
    l.call_id,
    l.admit_time,
    l.operation,
    l.provider,
    l.model,
    l.outcome,
    l.held_nanos,
    l.service_tier,
    l.input_token_count,
    l.cache_read_token_count,
    l.cache_write_5m_token_count,
    l.cache_write_1h_token_count,
    l.output_token_count,
    l.reasoning_token_count,
    l.audio_input_token_count,
    l.audio_cache_read_token_count,
    l.audio_output_token_count,
    l.image_input_token_count,
    l.image_cache_read_token_count,
    l.image_output_token_count,
    l.image_count,
    l.character_count,
    l.audio_ms,
    l.video_ms,
    l.web_search_count,
    l.file_search_count,
    l.page_count,
    l.code_session_count,
    newest.revision,
    newest.total_nanos,
    newest.cost_basis
FROM usage_log AS l
CROSS JOIN LATERAL (
    SELECT
        n.revision,
        n.total_nanos,
        n.cost_basis
    FROM usage_log AS n
    WHERE n.org = l.org AND n.call_id = l.call_id AND n.admit_time = l.admit_time
    ORDER BY n.revision DESC
    LIMIT 1
) AS newest
WHERE
    l.revision = 1
    AND l.admit_time >= $1::timestamptz
    AND l.admit_time < $2::timestamptz
    AND ($3::text = '' OR l.org = $3::text)
    AND ($4::text = '' OR l.provider = $4::text)
    AND ($5::text = '' OR l.model = $5::text)
    AND (l.org, l.call_id, l.admit_time) > ($7::text, $8::uuid, $6::timestamptz)
    AND newest.cost_basis IN (1, 2)
ORDER BY l.org, l.call_id, l.admit_time
LIMIT $9::integer;

-- name: count_rows
SELECT count(*) AS row_count
FROM usage_log
WHERE
    admit_time >= $1::timestamptz
    AND admit_time < $2::timestamptz
    AND org BETWEEN $3::text AND $4::text;

-- name: export_log
SELECT
    admit_time,
    org,
    call_id,
    revision,
    parent_call_id,
    operation,
    provider,
    model,
    api_key_id,
    coalesce(team, '') AS team,
    coalesce(user_name, '') AS user_name,
    coalesce(session, '') AS session,
    coalesce(feature, '') AS feature,
    labels,
    outcome,
    cost_basis,
    price_version,
    held_nanos,
    total_nanos,
    coalesce(delta_nanos, total_nanos) AS booked_nanos,
    latency_ms,
    error_type,
    service_tier,
    input_token_count,
    cache_read_token_count,
    cache_write_5m_token_count,
    cache_write_1h_token_count,
    output_token_count,
    reasoning_token_count,
    audio_input_token_count,
    audio_cache_read_token_count,
    audio_output_token_count,
    image_input_token_count,
    image_cache_read_token_count,
    image_output_token_count,
    image_count,
    character_count,
    audio_ms,
    video_ms,
    web_search_count,
    file_search_count,
    page_count,
    code_session_count,
    note,
    audit_id
FROM usage_log
WHERE
    admit_time >= $1::timestamptz
    AND admit_time < $2::timestamptz
    AND org BETWEEN $3::text AND $4::text
ORDER BY admit_time, org, call_id, revision;

-- name: count_focus
SELECT count(*) AS row_count
FROM rollup_org_day
WHERE day >= $1::date AND day < $2::date AND org BETWEEN $3::text AND $4::text;

-- name: export_focus
SELECT
    day,
    org,
    operation,
    provider,
    model,
    call_count,
    cost_nanos
FROM rollup_org_day
WHERE day >= $1::date AND day < $2::date AND org BETWEEN $3::text AND $4::text
ORDER BY day, org, operation, provider, model;

-- name: count_calls
SELECT count(*) AS call_count
FROM usage_log
WHERE
    revision = 1
    AND admit_time >= $1::timestamptz
    AND admit_time < $2::timestamptz
    AND org BETWEEN $3::text AND $4::text;

-- name: replay_usage
-- Each call once, with what stands for it now.
SELECT
    l.org,
    l.call_id,
    l.operation,
    l.provider,
    l.model,
    l.admit_time,
    l.latency_ms,
    l.held_nanos,
    newest.total_nanos,
    l.held_token_count,
    l.token_count,
    l.api_key_id,
    coalesce(l.team, '') AS team,
    coalesce(l.user_name, '') AS user_name,
    coalesce(l.session, '') AS session,
    coalesce(l.feature, '') AS feature,
    l.labels,
    coalesce(l.priority, 0) AS priority
FROM usage_log AS l
CROSS JOIN LATERAL (
    SELECT n.total_nanos
    FROM usage_log AS n
    WHERE n.org = l.org AND n.call_id = l.call_id AND n.admit_time = l.admit_time
    ORDER BY n.revision DESC
    LIMIT 1
) AS newest
WHERE
    l.revision = 1
    AND l.admit_time >= $1::timestamptz
    AND l.admit_time < $2::timestamptz
    AND l.org BETWEEN $3::text AND $4::text
ORDER BY l.admit_time, l.org, l.call_id;

-- name: list_booked_days
-- What is booked by day and model of a provider.
SELECT
    day,
    model,
    sum(cost_nanos) AS cost_nanos,
    sum(unreported_cost_nanos) AS unreported_cost_nanos
FROM rollup_org_day
WHERE
    day BETWEEN $1::date AND $2::date
    AND provider = $3::text
    AND org BETWEEN $4::text AND $5::text
GROUP BY day, model
ORDER BY day, model;

-- name: list_expired_days
-- Days whose log is older than the retention.
SELECT p.day
FROM (
    SELECT
        to_date(right(c.relname, 8), 'YYYYMMDD') AS day,
        (clock_timestamp() AT TIME ZONE 'UTC')::date AS today
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'usage_entry'::regclass
) AS p
WHERE p.day < p.today - $1::integer
ORDER BY p.day;

-- name: seal_day
INSERT INTO sealed_day (day, row_count, call_count, cost_nanos)
SELECT
    $1::date,
    count(*),
    count(*) FILTER (WHERE revision = 1),
    coalesce(sum(coalesce(delta_nanos, total_nanos)), 0)
FROM usage_log
WHERE
    admit_time >= $1::date::timestamp AT TIME ZONE 'UTC'
    AND admit_time < ($1::date + 1)::timestamp AT TIME ZONE 'UTC'
ON CONFLICT (day) DO UPDATE SET
    row_count = excluded.row_count,
    call_count = excluded.call_count,
    cost_nanos = excluded.cost_nanos,
    seal_time = excluded.seal_time
RETURNING row_count, call_count, cost_nanos;

-- name: drop_sealed_day
SELECT drop_sealed_day($1::date, $2::interval) AS dropped;
