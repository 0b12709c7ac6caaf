-- name: fetch_cursor
SELECT transaction_id, row_id
FROM feed_cursor
WHERE feed = $1::text;

-- name: advance_cursor
-- No row: another reader was faster, and has written what came of these rows.
UPDATE feed_cursor
SET transaction_id = $4::bigint, row_id = $5::bigint
WHERE feed = $1::text AND transaction_id = $2::bigint AND row_id = $3::bigint
RETURNING feed;

-- name: lock_cursor
-- No row: another reader is at it.
SELECT
    transaction_id,
    row_id,
    clock_timestamp() AS now
FROM feed_cursor
WHERE feed = $1::text
FOR UPDATE SKIP LOCKED;

-- name: find_usage_faults
-- Faults of the next rows of our own log, in the order of the settlement feed, by org, operation
-- and model; and in a row without a fault, how far the rows reach. Corrections are no news.
WITH page AS (
    SELECT
        e.xid,
        e.row_id,
        e.org,
        k.operation,
        k.provider,
        k.model,
        e.total_nanos,
        e.held_nanos,
        CASE
            WHEN e.revision > 1 THEN NULL
            WHEN e.cost_basis = 1 AND e.total_nanos > e.held_nanos THEN 'overrun'
            WHEN e.cost_basis = 2 AND num_nonnulls(
                e.input_token_count, e.cache_read_token_count, e.cache_write_5m_token_count,
                e.cache_write_1h_token_count, e.output_token_count, e.reasoning_token_count,
                e.audio_input_token_count, e.audio_cache_read_token_count,
                e.audio_output_token_count, e.image_input_token_count,
                e.image_cache_read_token_count, e.image_output_token_count, e.image_count,
                e.character_count, e.audio_ms, e.video_ms, e.web_search_count, e.file_search_count,
                e.page_count, e.code_session_count
            ) > 0 THEN 'unpriced'
            WHEN e.cost_basis = 2 THEN 'unreported'
        END AS fault
    FROM (
        SELECT *
        FROM usage_entry
        WHERE
            xid < pg_snapshot_xmin(pg_current_snapshot())
            AND xid >= greatest($1::bigint, 3)::text::xid8
            AND (xid, row_id) > ($1::bigint::text::xid8, $2::bigint)
        ORDER BY usage_entry.xid, usage_entry.row_id
        LIMIT $3::integer
    ) AS e
    INNER JOIN call_kind AS k ON e.kind_id = k.kind_id
)

SELECT
    fault,
    org,
    operation,
    provider,
    model,
    count(*) AS call_count,
    sum(total_nanos) AS cost_nanos,
    sum(greatest(total_nanos - held_nanos, 0)) AS overrun_nanos,
    NULL::bigint AS transaction_id,
    NULL::bigint AS row_id
FROM page
WHERE fault IS NOT NULL
GROUP BY fault, org, operation, provider, model
UNION ALL
(
    SELECT
        NULL,
        '',
        '',
        '',
        '',
        count(*) OVER (),
        0,
        0,
        reach.xid::text::bigint,
        reach.row_id
    FROM page AS reach
    ORDER BY reach.xid DESC, reach.row_id DESC
    LIMIT 1
);

-- name: try_lock
-- One replica compares at a time; the others have nothing to add.
SELECT pg_try_advisory_xact_lock($1::bigint) AS is_ours;

-- name: list_active_facts
SELECT
    alert_key,
    org,
    data,
    last_time,
    clock_timestamp() AS now
FROM alert
WHERE
    state <> 3
    AND (
        starts_with(alert_key, 'breaker/')
        OR starts_with(alert_key, 'credential/')
        OR starts_with(alert_key, 'kill/')
    );

-- name: fetch_now
SELECT clock_timestamp() AS now;

-- name: find_switches
-- Calls that replaced a failed one, of the rows after one place in the feed up to another, by org,
-- operation and model; and where the first of them had gone before.
SELECT
    s.org,
    s.operation,
    s.provider,
    s.model,
    s.call_count,
    p.provider AS from_provider,
    p.model AS from_model
FROM (
    SELECT
        l.org,
        l.operation,
        l.provider,
        l.model,
        count(*) AS call_count,
        (array_agg(l.parent_call_id ORDER BY l.xid, l.row_id))[1] AS parent_call_id,
        (array_agg(l.admit_time ORDER BY l.xid, l.row_id))[1] AS admit_time
    FROM usage_log AS l
    WHERE
        l.parent_call_id IS NOT NULL
        AND l.revision = 1
        AND (l.xid, l.row_id) > ($1::bigint::text::xid8, $2::bigint)
        AND (l.xid, l.row_id) <= ($3::bigint::text::xid8, $4::bigint)
    GROUP BY l.org, l.operation, l.provider, l.model
) AS s
CROSS JOIN LATERAL (
    SELECT
        f.provider,
        f.model
    FROM usage_log AS f
    WHERE
        f.org = s.org
        AND f.call_id = s.parent_call_id
        AND f.revision = 1
        -- One that fails over does so within its life; the others' partitions are not looked at.
        AND f.admit_time > s.admit_time - interval '1 day'
        AND f.admit_time <= s.admit_time
    ORDER BY f.admit_time DESC
    LIMIT 1
) AS p
WHERE (p.provider, p.model) <> (s.provider, s.model);
