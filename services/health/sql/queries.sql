-- name: bump_version
-- The last lock of a change: whoever holds it commits next, so commits come in version order.
-- The notification wakes watchers; their poll is behind it.
UPDATE health_version
SET version = version + 1
RETURNING version, pg_notify('headgate_health', version::text);

-- name: read_version
SELECT
    version,
    clock_timestamp() AS now
FROM health_version;

-- name: read_kills
SELECT
    kill_id,
    state,
    reason,
    message,
    actor,
    sequence,
    change_time,
    version,
    scope::text AS scope,
    expire_time,
    set_by,
    set_time
FROM kill_switch
ORDER BY kill_id;

-- name: read_kill
SELECT
    kill_switch.kill_id,
    kill_switch.state,
    kill_switch.reason,
    kill_switch.message,
    kill_switch.actor,
    kill_switch.sequence,
    kill_switch.change_time,
    kill_switch.version,
    kill_switch.scope::text AS scope,
    kill_switch.expire_time,
    kill_switch.set_by,
    kill_switch.set_time,
    clock_timestamp() AS now
FROM (SELECT $1::text AS kill_id) AS asked
LEFT JOIN kill_switch ON asked.kill_id = kill_switch.kill_id;

-- name: write_kill
-- Writes a switch if it still has the version that was decided on (0: there was none), with the
-- note of the order. Returns its new version; nothing if somebody else was first. One statement:
-- a kill waits for it.
WITH bumped AS (
    UPDATE health_version
    SET version = version + 1
    RETURNING version, pg_notify('headgate_health', version::text)
),

written AS (
    INSERT INTO kill_switch (
        kill_id,
        state,
        reason,
        message,
        actor,
        sequence,
        change_time,
        scope,
        expire_time,
        set_by,
        set_time,
        version
    )
    SELECT
        $1::text,
        $2::text,
        $3::text,
        $4::text,
        $5::text,
        $6::bigint,
        $7::timestamptz,
        $8::jsonb,
        $9::timestamptz,
        $10::text,
        $11::timestamptz,
        b.version
    FROM bumped AS b
    ON CONFLICT (kill_id) DO UPDATE
    SET
        state = excluded.state,
        reason = excluded.reason,
        message = excluded.message,
        actor = excluded.actor,
        sequence = excluded.sequence,
        change_time = excluded.change_time,
        expire_time = excluded.expire_time,
        set_by = excluded.set_by,
        set_time = excluded.set_time,
        version = excluded.version
    WHERE kill_switch.version = $12::bigint
    RETURNING version
),

noted AS (
    INSERT INTO change_log (audit_id, target, actor, reason, before, after)
    SELECT
        $13::text,
        $14::text,
        $15::text,
        $16::text,
        $17::jsonb,
        $18::jsonb || jsonb_build_object('version', w.version)
    FROM written AS w
    WHERE $13::text IS NOT NULL
)

SELECT version FROM written;

-- name: insert_change_once!
-- Logs an order that found everything as it wants it. Its repetition is the same order.
INSERT INTO change_log (audit_id, target, actor, reason, before, after)
SELECT
    $1::text,
    $2::text,
    $3::text,
    $4::text,
    $5::jsonb,
    $6::jsonb
WHERE NOT EXISTS (SELECT FROM change_log WHERE audit_id = $1::text);

-- name: insert_change!
INSERT INTO change_log (audit_id, target, actor, reason, before, after)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::jsonb, $6::jsonb);

-- name: find_changes
-- Orders of staff by the ids of the gateway's audit entries.
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
    'toggle/' || toggle_id,
    to_jsonb(before)::text,
    to_jsonb(after)::text,
    change_time
FROM toggle_change
WHERE audit_id = any($1::text[]);
