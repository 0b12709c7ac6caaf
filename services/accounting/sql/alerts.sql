-- name: insert_event
-- The event and its deliveries, to every channel that wants it. A muted one has none; one that is
-- about a channel does not go to it.
WITH written AS (
    INSERT INTO event (
        event_id, type, type_version, severity, org, subject, title, data, alert_id, muted
    )
    VALUES (
        $1::uuid, $2::text, $3::smallint, $4::smallint, $5::text, $6::text, $7::text, $8::jsonb,
        $9::bigint, $10::boolean
    )
    RETURNING event_id, type, severity, org, subject, muted
)

INSERT INTO delivery (event_id, org, channel_id)
SELECT
    w.event_id,
    c.org,
    c.channel_id
FROM written AS w
INNER JOIN channel AS c ON c.org IN ('', w.org)
WHERE
    NOT w.muted
    AND NOT c.paused
    AND w.severity >= c.severity_min
    AND w.subject <> concat_ws('/', 'channel', nullif(c.org, ''), c.channel_id)
    AND (
        cardinality(c.types) = 0
        OR EXISTS (
            SELECT 1 FROM unnest(c.types) AS t (pattern)
            WHERE w.type = t.pattern OR starts_with(w.type, t.pattern || '.')
        )
    )
RETURNING delivery_id;

-- name: list_active_mutes
SELECT type, org, subject
FROM alert_mute
WHERE expire_time > clock_timestamp();

-- name: insert_alert
-- No row: the condition has an alert already. A concurrent one waits here for the other's end.
INSERT INTO alert (
    alert_key, once, type, severity, org, subject, title, data, expire_time
)
VALUES (
    $1::text, $2::boolean, $3::text, $4::smallint, $5::text, $6::text, $7::text, $8::jsonb,
    $9::timestamptz
)
ON CONFLICT DO NOTHING
RETURNING alert_id;

-- name: lock_alert_of_condition
-- One that is resolved counts only if its condition never comes back.
SELECT
    alert_id,
    state,
    severity,
    notify_time,
    clock_timestamp() AS now
FROM alert
WHERE alert_key = $1::text AND (once OR state <> 3)
FOR UPDATE;

-- name: note_condition_again!
-- $6 says whether it is told now.
UPDATE alert
SET
    occurrence_count = occurrence_count + 1,
    last_time = clock_timestamp(),
    severity = greatest(severity, $2::smallint),
    title = $3::text,
    data = $4::jsonb,
    expire_time = $5::timestamptz,
    -- Who has taken it on took on something less severe.
    state = CASE WHEN $6::boolean AND severity < $2::smallint THEN 1 ELSE state END,
    notify_time = CASE WHEN $6::boolean THEN clock_timestamp() ELSE notify_time END
WHERE alert_id = $1::bigint;

-- name: insert_alert_change!
INSERT INTO alert_change (alert_id, action, actor, note, audit_id)
VALUES ($1::bigint, $2::smallint, $3::text, $4::text, $5::text);

-- name: acknowledge_alert
UPDATE alert
SET state = 2, acknowledge_time = clock_timestamp(), acknowledged_by = $2::text
WHERE alert_id = $1::bigint AND state = 1 AND ($3::text IS NULL OR org = $3::text)
RETURNING alert_id;

-- name: resolve_alert
UPDATE alert
SET state = 3, resolve_time = clock_timestamp(), resolved_by = $2::text
WHERE alert_id = $1::bigint AND state <> 3 AND ($3::text IS NULL OR org = $3::text)
RETURNING alert_id;

-- name: resolve_condition
-- The condition is gone: its alert resolves by itself.
UPDATE alert
SET state = 3, resolve_time = clock_timestamp()
WHERE alert_key = $1::text AND state <> 3
RETURNING alert_id;

-- name: resolve_expired
UPDATE alert
SET state = 3, resolve_time = clock_timestamp()
WHERE alert_id IN (
    SELECT alert_id FROM alert
    WHERE state <> 3 AND expire_time <= clock_timestamp()
    ORDER BY alert_id
    LIMIT $1::integer
    FOR UPDATE SKIP LOCKED
)
RETURNING alert_id;

-- name: list_active_keys
-- Conditions with this beginning that have an alert.
SELECT alert_key
FROM alert
WHERE state <> 3 AND starts_with(alert_key, $1::text);

-- name: get_alert
SELECT
    alert_id,
    type,
    severity,
    state,
    org,
    subject,
    title,
    data,
    occurrence_count,
    first_time,
    last_time,
    notify_time,
    acknowledge_time,
    acknowledged_by,
    resolve_time,
    resolved_by
FROM alert
WHERE alert_id = $1::bigint AND ($2::text IS NULL OR org = $2::text);

-- name: list_alerts
-- Newest first. $2 and $4 to $6: 0 and empty are any; $3: NULL is any org.
SELECT
    alert_id,
    type,
    severity,
    state,
    org,
    subject,
    title,
    data,
    occurrence_count,
    first_time,
    last_time,
    notify_time,
    acknowledge_time,
    acknowledged_by,
    resolve_time,
    resolved_by
FROM alert
WHERE
    alert_id < $1::bigint
    AND ($2::smallint = 0 OR state = $2::smallint)
    AND ($3::text IS NULL OR org = $3::text)
    AND severity >= $4::smallint
    AND ($5::text = '' OR type = $5::text OR starts_with(type, $5::text || '.'))
    AND NOT ($6::boolean AND state = 3)
ORDER BY alert_id DESC
LIMIT $7::integer;

-- name: list_alert_changes
SELECT action, actor, note, change_time
FROM alert_change
WHERE alert_id = $1::bigint
ORDER BY change_id
LIMIT $2::integer;

-- name: find_alert_change
SELECT action
FROM alert_change
WHERE alert_id = $1::bigint AND audit_id = $2::text;

-- name: insert_mute
INSERT INTO alert_mute (mute_id, type, org, subject, expire_time, reason, actor, audit_id)
VALUES (
    $1::uuid, $2::text, $3::text, $4::text, clock_timestamp() + $5::interval, $6::text, $7::text,
    $8::text
)
ON CONFLICT DO NOTHING
RETURNING mute_id;

-- name: delete_mute
DELETE FROM alert_mute
WHERE mute_id = $1::uuid AND ($2::text IS NULL OR org = $2::text)
RETURNING mute_id;

-- name: get_mute
SELECT mute_id, type, org, subject, expire_time, reason, actor, create_time
FROM alert_mute
WHERE mute_id = $1::uuid;

-- name: list_mutes
SELECT mute_id, type, org, subject, expire_time, reason, actor, create_time
FROM alert_mute
WHERE expire_time > clock_timestamp() AND ($1::text IS NULL OR org = $1::text)
ORDER BY create_time DESC, mute_id ASC
LIMIT $2::integer;

-- name: list_events
-- Newest first. NULL is any org.
SELECT
    event_number,
    event_id,
    type,
    type_version,
    severity,
    org,
    subject,
    title,
    data,
    alert_id,
    muted,
    create_time
FROM event
WHERE
    event_number < $1::bigint
    AND ($2::text IS NULL OR org = $2::text)
    AND ($3::text = '' OR type = $3::text OR starts_with(type, $3::text || '.'))
ORDER BY event_number DESC
LIMIT $4::integer;

-- name: list_event_feed
-- After a place, in an order in which none appears before another that was read.
SELECT
    event_id,
    type,
    type_version,
    severity,
    org,
    subject,
    title,
    data,
    alert_id,
    muted,
    create_time,
    event_number,
    xid::text::bigint AS transaction_id
FROM event
WHERE
    xid < pg_snapshot_xmin(pg_current_snapshot())
    AND (xid, event_number) > ($1::bigint::text::xid8, $2::bigint)
ORDER BY event.xid, event.event_number
LIMIT $3::integer;

-- name: find_end_of_event_feed
-- No row: nothing has happened yet.
SELECT
    xid::text::bigint AS transaction_id,
    event_number
FROM event
WHERE xid < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY event.xid DESC, event.event_number DESC
LIMIT 1;
