-- name: select_policy
-- Version, limits and fences of one snapshot.
SELECT
    p.version,
    CASE WHEN p.counted_version = p.version THEN p.limit_count END AS limit_count,
    (
        SELECT coalesce(json_agg(l ORDER BY l.limit_id), '[]')
        FROM (
            SELECT
                limit_id, scope, metric, window_kind, period, time_zone, anchor, length_us,
                slot_count, refill_amount, interval_start, interval_end, cap, owner, mode,
                valid_from, valid_until, default_percent, sheddable_percent, alert_percents,
                version
            FROM limit_rule
        ) AS l
    )::text AS limits,
    (
        SELECT coalesce(json_agg(f ORDER BY f.fence_id), '[]')
        FROM (
            SELECT fence_id, sequence, active, message, scope, expire_time
            FROM fence
            WHERE active
        ) AS f
    )::text AS fences
FROM policy_version AS p;

-- name: select_version
SELECT version FROM policy_version;

-- name: lock_policy
-- Waits until no batch that read an older version is in flight, and holds new ones back.
SELECT pg_advisory_xact_lock(7401, 1);

-- name: terminate_policy_readers
-- Ends the sessions whose batches a fence waits for. None of these batches was answered, so
-- their callers retry.
SELECT count(pg_terminate_backend(l.pid))
FROM pg_locks AS l
WHERE
    l.locktype = 'advisory' AND l.classid = 7401 AND l.objid = 1 AND l.objsubid = 2
    AND l.mode = 'ShareLock' AND l.granted AND l.pid <> pg_backend_pid()
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database());

-- name: bump_version
SELECT bump_policy_version_1($1::integer);

-- name: count_limits
SELECT count(*) FROM limit_rule;

-- name: select_limit
SELECT row_to_json(l)::text FROM limit_rule AS l WHERE l.limit_id = $1::text;

-- name: select_limits
SELECT l.limit_id, row_to_json(l)::text AS fields
FROM limit_rule AS l
WHERE l.limit_id = any($1::text []);

-- name: delete_limits!
DELETE FROM limit_rule WHERE limit_id = any($1::text []);

-- name: select_overlapping
-- A temporary limit of the same pattern and window whose validity overlaps the given one.
SELECT o.limit_id
FROM limit_rule AS o
WHERE
    o.limit_id <> $1::text AND o.scope = $2::text::jsonb AND o.metric = $3::smallint
    AND o.window_kind = $4::smallint AND o.period = $5::smallint AND o.time_zone = $6::text
    AND o.anchor = $7::smallint AND o.length_us = $8::bigint AND o.slot_count = $9::smallint
    AND o.refill_amount = $10::bigint
    AND o.interval_start IS NOT DISTINCT FROM $11::timestamptz
    AND o.interval_end IS NOT DISTINCT FROM $12::timestamptz
    AND (o.valid_from IS NOT NULL OR o.valid_until IS NOT NULL)
    AND tstzrange(o.valid_from, o.valid_until) && tstzrange($13::timestamptz, $14::timestamptz)
ORDER BY o.limit_id
LIMIT 1;

-- name: upsert_limit!
INSERT INTO limit_rule (
    limit_id, scope, metric, window_kind, period, time_zone, anchor, length_us, slot_count,
    refill_amount, interval_start, interval_end, cap, owner, mode, valid_from, valid_until,
    default_percent, sheddable_percent, alert_percents, version
)
VALUES (
    $1::text, $2::text::jsonb, $3::smallint, $4::smallint, $5::smallint, $6::text,
    $7::smallint, $8::bigint, $9::smallint, $10::bigint, $11::timestamptz, $12::timestamptz,
    $13::bigint, $14::text, $15::smallint, $16::timestamptz, $17::timestamptz, $18::smallint,
    $19::smallint, $20::smallint [], (SELECT version + 1 FROM policy_version)
)
ON CONFLICT (limit_id) DO UPDATE SET
scope = excluded.scope,
metric = excluded.metric,
window_kind = excluded.window_kind,
period = excluded.period,
time_zone = excluded.time_zone,
anchor = excluded.anchor,
length_us = excluded.length_us,
slot_count = excluded.slot_count,
refill_amount = excluded.refill_amount,
interval_start = excluded.interval_start,
interval_end = excluded.interval_end,
cap = excluded.cap,
owner = excluded.owner,
mode = excluded.mode,
valid_from = excluded.valid_from,
valid_until = excluded.valid_until,
default_percent = excluded.default_percent,
sheddable_percent = excluded.sheddable_percent,
alert_percents = excluded.alert_percents,
version = excluded.version,
update_time = clock_timestamp();

-- name: delete_limit!
DELETE FROM limit_rule WHERE limit_id = $1::text;

-- name: select_limits_page
SELECT
    limit_id, scope::text AS scope, metric, window_kind, period, time_zone, anchor, length_us,
    slot_count, refill_amount, interval_start, interval_end, cap, owner, mode, valid_from,
    valid_until, default_percent, sheddable_percent, alert_percents, version
FROM limit_rule
WHERE limit_id > $1::text AND $3::text IN ('', limit_id)
ORDER BY limit_id
LIMIT $2::integer;

-- name: select_fences_page
SELECT fence_id, sequence, active, message, scope::text AS scope, expire_time
FROM fence
WHERE fence_id > $1::text AND active
ORDER BY fence_id
LIMIT $2::integer;

-- name: put_fence
-- A transaction by itself, in one round trip; see functions.sql.
SELECT fence_id, sequence, active, message, scope::text AS scope, expire_time
FROM put_fence_1(
    $1::text, $2::bigint, $3::boolean, $4::text, $5::text, $6::text::jsonb, $7::timestamptz,
    $8::text::jsonb, $9::integer
);

-- name: insert_change!
INSERT INTO change_log (audit_id, target, before, after)
VALUES ($1::text, $2::text, $3::text::jsonb, $4::text::jsonb);
