-- name: book_usage
-- Books a batch; see functions.sql.
SELECT place, status, total_nanos, cost_basis, revision, token_count
FROM book_usage(
    $1::text[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
    $8::text[], $9::jsonb[], $10::smallint[], $11::smallint[], $12::bigint[], $13::bigint[],
    $14::bigint[], $15::bigint[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[],
    $20::bigint[], $21::integer[], $22::text[], $23::bytea[], $24::text[], $25::text[],
    $26::text[], $27::text[], $28::smallint[], $29::bigint[], $30::text[], $31::bigint[],
    $32::jsonb[], $33::integer, $34::interval, $35::interval
);

-- name: ensure_partition
SELECT ensure_partition($1::date, $2::integer, $3::integer) AS present;

-- name: fetch_today
SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today;

-- name: list_settlements
-- Only rows of transactions below every one that still runs: a row that commits late with a
-- smaller position would be skipped otherwise.
SELECT
    xid::text::bigint AS transaction_id,
    row_id,
    org,
    call_id,
    revision,
    total_nanos,
    token_total(usage_log) AS token_count
FROM usage_log
WHERE
    xid < pg_snapshot_xmin(pg_current_snapshot())
    AND (xid, row_id) > ($1::bigint::text::xid8, $2::bigint)
ORDER BY usage_log.xid, row_id
LIMIT $3::integer;

-- name: sum_usage_log
-- $4 to $8 say which dimensions split the sums.
SELECT
    CASE WHEN $4::boolean THEN (admit_time AT TIME ZONE 'UTC')::date END AS day,
    CASE WHEN $5::boolean THEN org ELSE '' END AS org,
    CASE WHEN $6::boolean THEN operation ELSE '' END AS operation,
    CASE WHEN $7::boolean THEN provider ELSE '' END AS provider,
    CASE WHEN $8::boolean THEN model ELSE '' END AS model,
    count(*) FILTER (WHERE revision = 1) AS call_count,
    count(*) FILTER (WHERE revision = 1 AND outcome <> 1) AS failed_count,
    count(*) FILTER (WHERE revision = 1 AND cost_basis = 2)
    + coalesce(sum(unreported_delta_count), 0) AS unreported_count,
    sum(coalesce(delta_nanos, total_nanos)) AS cost_nanos,
    coalesce(sum(total_nanos) FILTER (WHERE revision = 1 AND cost_basis = 2), 0)
    + coalesce(sum(unreported_delta_nanos), 0) AS unreported_cost_nanos,
    coalesce(sum(input_token_count), 0) AS input_token_count,
    coalesce(sum(cache_read_token_count), 0) AS cache_read_token_count,
    coalesce(sum(cache_write_5m_token_count), 0) AS cache_write_5m_token_count,
    coalesce(sum(cache_write_1h_token_count), 0) AS cache_write_1h_token_count,
    coalesce(sum(output_token_count), 0) AS output_token_count,
    coalesce(sum(reasoning_token_count), 0) AS reasoning_token_count,
    sum(audio_input_token_count) AS audio_input_token_count,
    sum(audio_cache_read_token_count) AS audio_cache_read_token_count,
    sum(audio_output_token_count) AS audio_output_token_count,
    sum(image_input_token_count) AS image_input_token_count,
    sum(image_cache_read_token_count) AS image_cache_read_token_count,
    sum(image_output_token_count) AS image_output_token_count,
    sum(image_count) AS image_count,
    sum(character_count) AS character_count,
    sum(audio_ms) AS audio_ms,
    sum(video_ms) AS video_ms,
    sum(web_search_count) AS web_search_count,
    sum(file_search_count) AS file_search_count,
    sum(page_count) AS page_count,
    sum(code_session_count) AS code_session_count
FROM usage_log
WHERE
    admit_time >= $1::date::timestamp AT TIME ZONE 'UTC'
    AND admit_time < ($2::date + 1)::timestamp AT TIME ZONE 'UTC'
    AND ($3::text = '' OR org = $3::text)
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
LIMIT $9::integer;

-- name: sum_rollup_org_day
SELECT
    CASE WHEN $4::boolean THEN r.day END AS day,
    CASE WHEN $5::boolean THEN org ELSE '' END AS org,
    CASE WHEN $6::boolean THEN operation ELSE '' END AS operation,
    CASE WHEN $7::boolean THEN provider ELSE '' END AS provider,
    CASE WHEN $8::boolean THEN model ELSE '' END AS model,
    sum(call_count) AS call_count,
    sum(failed_count) AS failed_count,
    sum(unreported_count) AS unreported_count,
    sum(cost_nanos) AS cost_nanos,
    sum(unreported_cost_nanos) AS unreported_cost_nanos,
    sum(input_token_count) AS input_token_count,
    sum(cache_read_token_count) AS cache_read_token_count,
    sum(cache_write_5m_token_count) AS cache_write_5m_token_count,
    sum(cache_write_1h_token_count) AS cache_write_1h_token_count,
    sum(output_token_count) AS output_token_count,
    sum(reasoning_token_count) AS reasoning_token_count,
    sum(audio_input_token_count) AS audio_input_token_count,
    sum(audio_cache_read_token_count) AS audio_cache_read_token_count,
    sum(audio_output_token_count) AS audio_output_token_count,
    sum(image_input_token_count) AS image_input_token_count,
    sum(image_cache_read_token_count) AS image_cache_read_token_count,
    sum(image_output_token_count) AS image_output_token_count,
    sum(image_count) AS image_count,
    sum(character_count) AS character_count,
    sum(audio_ms) AS audio_ms,
    sum(video_ms) AS video_ms,
    sum(web_search_count) AS web_search_count,
    sum(file_search_count) AS file_search_count,
    sum(page_count) AS page_count,
    sum(code_session_count) AS code_session_count
FROM rollup_org_day AS r
WHERE
    r.day BETWEEN $1::date AND $2::date
    AND ($3::text = '' OR org = $3::text)
    AND call_count > 0
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
LIMIT $9::integer;

-- name: sum_rollup_platform_day
SELECT
    CASE WHEN $3::boolean THEN r.day END AS day,
    '' AS org,
    '' AS operation,
    '' AS provider,
    '' AS model,
    sum(call_count) AS call_count,
    sum(failed_count) AS failed_count,
    sum(unreported_count) AS unreported_count,
    sum(cost_nanos) AS cost_nanos,
    sum(unreported_cost_nanos) AS unreported_cost_nanos,
    sum(input_token_count) AS input_token_count,
    sum(cache_read_token_count) AS cache_read_token_count,
    sum(cache_write_5m_token_count) AS cache_write_5m_token_count,
    sum(cache_write_1h_token_count) AS cache_write_1h_token_count,
    sum(output_token_count) AS output_token_count,
    sum(reasoning_token_count) AS reasoning_token_count,
    sum(audio_input_token_count) AS audio_input_token_count,
    sum(audio_cache_read_token_count) AS audio_cache_read_token_count,
    sum(audio_output_token_count) AS audio_output_token_count,
    sum(image_input_token_count) AS image_input_token_count,
    sum(image_cache_read_token_count) AS image_cache_read_token_count,
    sum(image_output_token_count) AS image_output_token_count,
    sum(image_count) AS image_count,
    sum(character_count) AS character_count,
    sum(audio_ms) AS audio_ms,
    sum(video_ms) AS video_ms,
    sum(web_search_count) AS web_search_count,
    sum(file_search_count) AS file_search_count,
    sum(page_count) AS page_count,
    sum(code_session_count) AS code_session_count
FROM rollup_platform_day AS r
WHERE r.day BETWEEN $1::date AND $2::date AND call_count > 0
GROUP BY 1
ORDER BY 1
LIMIT $4::integer;

-- name: fetch_book_version
SELECT version FROM price_book;

-- name: list_price_changes
-- The book's version and every price that began or ended after $1, in one snapshot. Prices that
-- ended longer ago than $2 price no report any more.
SELECT
    b.version,
    p.price_id,
    p.provider,
    p.model,
    p.org,
    p.source,
    p.meters,
    p.since_version,
    p.until_version,
    p.start_time
FROM price_book AS b
LEFT JOIN model_price AS p
    ON
        (p.since_version > $1::bigint OR p.until_version > $1::bigint)
        AND (p.end_time IS NULL OR p.end_time > clock_timestamp() - $2::interval);

-- name: lock_price_book
-- Whoever changes a price locks this row first, and nothing before it: changes come one by one.
SELECT version FROM price_book FOR UPDATE;

-- name: set_book_version!
UPDATE price_book SET version = $1::bigint;

-- name: find_change
SELECT version, before, after
FROM change_log
WHERE audit_id = $1::text AND target = $2::text;

-- name: insert_change!
INSERT INTO change_log (audit_id, target, version, before, after)
VALUES ($1::text, $2::text, $3::bigint, $4::jsonb, $5::jsonb);

-- name: end_override
UPDATE model_price
SET until_version = $4::bigint, end_time = clock_timestamp()
WHERE
    provider = $1::text
    AND model = $2::text
    AND org = $3::text
    AND source = 'override'
    AND until_version IS NULL
RETURNING meters;

-- name: insert_override
INSERT INTO model_price (provider, model, org, source, meters, since_version)
VALUES ($1::text, $2::text, $3::text, 'override', $4::jsonb, $5::bigint)
RETURNING price_id, until_version, start_time;

-- name: find_override
SELECT price_id, until_version, start_time
FROM model_price
WHERE
    provider = $1::text
    AND model = $2::text
    AND org = $3::text
    AND source = 'override'
    AND since_version = $4::bigint;

-- name: list_catalogue
SELECT provider, model, meters
FROM model_price
WHERE source = 'catalogue' AND until_version IS NULL;

-- name: end_catalogue!
UPDATE model_price AS p
SET until_version = $3::bigint, end_time = clock_timestamp()
FROM unnest($1::text[], $2::text[]) AS m (provider, model)
WHERE
    p.provider = m.provider
    AND p.model = m.model
    AND p.source = 'catalogue'
    AND p.until_version IS NULL;

-- name: insert_catalogue!
INSERT INTO model_price (provider, model, org, source, meters, since_version)
SELECT m.provider, m.model, '', 'catalogue', m.meters, $4::bigint
FROM unnest($1::text[], $2::text[], $3::jsonb[]) AS m (provider, model, meters);
