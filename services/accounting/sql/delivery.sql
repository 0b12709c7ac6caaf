-- name: lock_channel
SELECT
    org,
    channel_id,
    kind,
    sealed_url,
    sealed_secrets,
    shown_url,
    types,
    severity_min,
    quiet_start_minute,
    quiet_end_minute,
    quiet_time_zone,
    paused,
    create_time,
    deliver_time,
    failure_count
FROM channel
WHERE org = $1::text AND channel_id = $2::text
FOR UPDATE;

-- name: insert_channel
-- No row: it is there.
INSERT INTO channel (
    org, channel_id, kind, sealed_url, sealed_secrets, shown_url, types, severity_min,
    quiet_start_minute, quiet_end_minute, quiet_time_zone, paused
)
VALUES (
    $1::text, $2::text, $3::smallint, $4::bytea, $5::bytea[], $6::text, $7::text[], $8::smallint,
    $9::smallint, $10::smallint, $11::text, $12::boolean
)
ON CONFLICT DO NOTHING
RETURNING channel_id;

-- name: update_channel
UPDATE channel
SET
    kind = $3::smallint,
    sealed_url = $4::bytea,
    sealed_secrets = $5::bytea[],
    shown_url = $6::text,
    types = $7::text[],
    severity_min = $8::smallint,
    quiet_start_minute = $9::smallint,
    quiet_end_minute = $10::smallint,
    quiet_time_zone = $11::text,
    paused = $12::boolean
WHERE org = $1::text AND channel_id = $2::text
RETURNING channel_id;

-- name: delete_channel
-- What waits for it goes with it.
DELETE FROM channel
WHERE org = $1::text AND channel_id = $2::text
RETURNING channel_id;

-- name: insert_channel_change
-- No row: this audit entry has made its change already.
INSERT INTO channel_change (audit_id, org, channel_id, before, after)
VALUES ($1::text, $2::text, $3::text, $4::jsonb, $5::jsonb)
ON CONFLICT DO NOTHING
RETURNING audit_id;

-- name: list_channels
-- NULL: those of all.
SELECT
    org,
    channel_id,
    kind,
    sealed_url,
    sealed_secrets,
    shown_url,
    types,
    severity_min,
    quiet_start_minute,
    quiet_end_minute,
    quiet_time_zone,
    paused,
    create_time,
    deliver_time,
    failure_count
FROM channel
WHERE
    ($1::text IS NULL OR org = $1::text)
    AND (org, channel_id) > ($2::text, $3::text)
ORDER BY org, channel_id
LIMIT $4::integer;

-- name: insert_delivery
-- One event to one channel: a test, or a replay of what the channel never had.
INSERT INTO delivery (event_id, org, channel_id)
VALUES ($1::uuid, $2::text, $3::text)
ON CONFLICT DO NOTHING
RETURNING delivery_id;

-- name: claim_delivery
-- The delivery that is due longest, of a channel that is neither paused nor busy; $2: "org/id". Those
-- of orgs whose notifications are off wait: $5 says whether they are on, and $4 where it is otherwise.
-- The claim is a lease: whoever dies with it is replaced when its due time comes again.
WITH due AS (
    SELECT d.delivery_id
    FROM channel AS c
    CROSS JOIN LATERAL (
        SELECT
            delivery_id,
            due_time
        FROM delivery
        WHERE
            org = c.org
            AND channel_id = c.channel_id
            AND state = 1
            AND due_time <= clock_timestamp()
            AND ($3::bigint IS NULL OR delivery_id = $3::bigint)
        ORDER BY delivery.due_time
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    ) AS d
    WHERE
        ($3::bigint IS NOT NULL OR NOT c.paused)
        AND ($3::bigint IS NOT NULL OR (c.org = any($4::text[])) <> $5::boolean)
        AND (c.org || '/' || c.channel_id) <> all($2::text[])
    ORDER BY d.due_time
    LIMIT 1
)

UPDATE delivery AS d
SET attempt_count = d.attempt_count + 1, due_time = clock_timestamp() + $1::interval
FROM due, event AS e, channel AS c
WHERE
    d.delivery_id = due.delivery_id
    AND e.event_id = d.event_id
    AND c.org = d.org
    AND c.channel_id = d.channel_id
RETURNING
    d.delivery_id,
    d.attempt_count,
    clock_timestamp() AS now,
    e.event_id,
    e.type,
    e.type_version,
    e.severity,
    e.org AS event_org,
    e.subject,
    e.title,
    e.data,
    e.create_time,
    e.alert_id,
    c.org,
    c.channel_id,
    c.kind,
    c.sealed_url,
    c.sealed_secrets,
    c.quiet_start_minute,
    c.quiet_end_minute,
    c.quiet_time_zone;

-- name: postpone_delivery!
-- It was no attempt.
UPDATE delivery
SET due_time = $3::timestamptz, attempt_count = attempt_count - 1
WHERE delivery_id = $1::bigint AND attempt_count = $2::integer AND state = 1;

-- name: finish_delivery
-- No row: somebody else has claimed it since.
UPDATE delivery
SET state = 2, end_time = clock_timestamp(), error = ''
WHERE delivery_id = $1::bigint AND attempt_count = $2::integer AND state = 1
RETURNING delivery_id;

-- name: note_success
-- Says whether it had failed before.
WITH old AS (
    SELECT
        org,
        channel_id,
        failure_count
    FROM channel
    WHERE org = $1::text AND channel_id = $2::text
    FOR NO KEY UPDATE
)

UPDATE channel AS c
SET deliver_time = clock_timestamp(), failure_count = 0
FROM old
WHERE c.org = old.org AND c.channel_id = old.channel_id
RETURNING old.failure_count > 0 AS had_failed;

-- name: fail_delivery
-- $4 is the wait until the next attempt; NULL: this one was the last.
UPDATE delivery
SET
    state = CASE WHEN $4::interval IS NULL THEN 3 ELSE 1 END,
    end_time = CASE WHEN $4::interval IS NULL THEN clock_timestamp() END,
    due_time = coalesce(clock_timestamp() + $4::interval, due_time),
    error = $3::text
WHERE delivery_id = $1::bigint AND attempt_count = $2::integer AND state = 1
RETURNING state;

-- name: note_failure
UPDATE channel
SET failure_count = failure_count + 1
WHERE org = $1::text AND channel_id = $2::text
RETURNING failure_count;

-- name: list_deliveries
-- Newest first. NULL is any org; empty, NULL and 0 are any in the others.
SELECT
    d.delivery_id,
    d.event_id,
    e.type,
    d.org,
    d.channel_id,
    d.state,
    d.attempt_count,
    d.due_time,
    d.error,
    d.create_time,
    d.end_time
FROM delivery AS d
INNER JOIN event AS e ON e.event_id = d.event_id
WHERE
    d.delivery_id < $1::bigint
    AND ($2::text IS NULL OR d.org = $2::text)
    AND ($3::text = '' OR d.channel_id = $3::text)
    AND ($4::smallint = 0 OR d.state = $4::smallint)
    AND ($5::uuid IS NULL OR d.event_id = $5::uuid)
ORDER BY d.delivery_id DESC
LIMIT $6::integer;

-- name: replay_deliveries
-- Those that are not waiting get all their attempts again. $4: dead ones only.
WITH chosen AS (
    SELECT delivery_id
    FROM delivery
    WHERE
        org = $1::text
        AND channel_id = $2::text
        AND state <> 1
        AND ($3::bigint = 0 OR delivery_id = $3::bigint)
        AND (NOT $4::boolean OR state = 3)
    ORDER BY delivery_id
    LIMIT $5::integer
    FOR UPDATE
)

UPDATE delivery AS d
SET state = 1, end_time = NULL, attempt_count = 0, due_time = clock_timestamp()
FROM chosen
WHERE d.delivery_id = chosen.delivery_id
RETURNING d.delivery_id;

-- name: prune_deliveries
-- Ended deliveries that are older than $1. The outer condition is looked at again on a row that
-- somebody else has changed meanwhile: what is replayed waits, and stays.
DELETE FROM delivery
WHERE state <> 1 AND delivery_id IN (
    SELECT delivery_id FROM delivery
    WHERE state <> 1 AND end_time < clock_timestamp() - $1::interval
    ORDER BY delivery_id
    LIMIT $2::integer
)
RETURNING delivery_id;

-- name: prune_events
-- Events that are older than $1 and wait nowhere.
DELETE FROM event
WHERE event_id IN (
    SELECT e.event_id FROM event AS e
    WHERE
        e.create_time < clock_timestamp() - $1::interval
        AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.event_id = e.event_id)
    ORDER BY e.event_number
    LIMIT $2::integer
)
RETURNING event_id;
