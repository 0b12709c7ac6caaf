-- name: book_calls
-- Books a batch; see functions.sql.
SELECT place, status, total_nanos, cost_basis, revision, token_count
FROM book_calls($1::booked_call[], $2::integer, $3::interval, $4::interval);

-- name: name_calls
SELECT kind_ids, caller_ids
FROM name_calls(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[]
);

-- name: ensure_partition
SELECT ensure_partition($1::date, $2::integer, $3::integer) AS present;

-- name: fetch_today
SELECT (clock_timestamp() AT TIME ZONE 'UTC')::date AS today;

-- name: list_settlements
-- Only rows of transactions below every one that still runs: a row that commits late with a
-- smaller position would be skipped otherwise. Transactions count from 3.
SELECT
    xid::text::bigint AS transaction_id,
    row_id,
    org,
    call_id,
    revision,
    total_nanos,
    token_total(usage_entry) AS token_count
FROM usage_entry
WHERE
    xid < pg_snapshot_xmin(pg_current_snapshot())
    AND xid >= greatest($1::bigint, 3)::text::xid8
    AND (xid, row_id) > ($1::bigint::text::xid8, $2::bigint)
ORDER BY usage_entry.xid, row_id
LIMIT $3::integer;

-- name: fetch_book_version
-- And whether an override waits whose time has come.
SELECT
    b.version,
    (
        SELECT count(*) > 0
        FROM scheduled_price AS s
        WHERE s.effective_time <= clock_timestamp()
    ) AS is_due
FROM price_book AS b;

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
    p.start_time,
    p.end_time,
    p.variants,
    p.operation,
    p.effective_time
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

-- name: insert_order!
-- What staff did that changes no price: 0 is no version. An RPC that comes twice is one order.
INSERT INTO change_log (audit_id, target, version, before, after)
VALUES ($1::text, $2::text, 0, $3::jsonb, $4::jsonb)
ON CONFLICT DO NOTHING;

-- name: end_override
UPDATE model_price
SET until_version = $5::bigint, end_time = clock_timestamp()
WHERE
    provider = $1::text
    AND model = $2::text
    AND org = $3::text
    AND operation = $4::text
    AND source = 'override'
    AND until_version IS NULL
RETURNING meters, variants;

-- name: find_override_in_force
SELECT meters, variants, effective_time
FROM model_price
WHERE
    provider = $1::text
    AND model = $2::text
    AND org = $3::text
    AND operation = $4::text
    AND source = 'override'
    AND until_version IS NULL;

-- name: schedule_override!
INSERT INTO scheduled_price (
    provider, model, org, operation, effective_time, meters, variants, audit_id
)
VALUES (
    $1::text, $2::text, $3::text, $4::text, $5::timestamptz, $6::jsonb, $7::jsonb, $8::text
)
ON CONFLICT (provider, model, org, operation, effective_time) DO UPDATE SET
    meters = excluded.meters,
    variants = excluded.variants,
    audit_id = excluded.audit_id;

-- name: take_due_overrides
-- Under the lock of the price book.
DELETE FROM scheduled_price
WHERE effective_time <= clock_timestamp()
RETURNING provider, model, org, operation, effective_time, meters, variants, audit_id;

-- name: fetch_clock
SELECT clock_timestamp() AS now;

-- name: insert_override
INSERT INTO model_price (
    provider, model, org, operation, source, meters, variants, effective_time, since_version
)
VALUES (
    $1::text, $2::text, $3::text, $4::text, 'override', $5::jsonb, $6::jsonb, $7::timestamptz,
    $8::bigint
)
RETURNING price_id, until_version, start_time, end_time;

-- name: find_override
SELECT price_id, until_version, start_time, end_time
FROM model_price
WHERE
    provider = $1::text
    AND model = $2::text
    AND org = $3::text
    AND operation = $4::text
    AND source = 'override'
    AND since_version = $5::bigint;

-- name: list_catalogue
SELECT provider, model, meters, variants
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
INSERT INTO model_price (provider, model, org, source, meters, variants, since_version)
SELECT m.provider, m.model, '', 'catalogue', m.meters, m.variants, $5::bigint
FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::jsonb[])
    AS m (provider, model, meters, variants);

-- name: find_changes
-- Changes and orders of staff by the ids of the gateway's audit entries.
SELECT
    audit_id,
    target,
    before::text AS before,
    after::text AS after,
    change_time
FROM change_log
WHERE audit_id = any($1::text[])
UNION ALL
SELECT
    audit_id,
    'channel/' || org || '/' || channel_id,
    before::text,
    after::text,
    change_time
FROM channel_change
WHERE audit_id = any($1::text[])
UNION ALL
SELECT
    audit_id,
    'alert/' || alert_id::text,
    NULL,
    NULL,
    change_time
FROM alert_change
WHERE audit_id = any($1::text[])
UNION ALL
SELECT
    audit_id,
    'mute/' || mute_id::text,
    NULL,
    NULL,
    create_time
FROM alert_mute
WHERE audit_id = any($1::text[]);
