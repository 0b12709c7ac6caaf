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

-- name: lock_kills
-- Serialises orders and acknowledgements, of the first kill too, when there is no row to lock
-- yet. Run alone and first, so that the reading after it is fresh. Nobody holds it while
-- admission is asked. An advisory lock, because a table lock would wait for a vacuum.
SELECT pg_advisory_xact_lock(7403, 1);

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

-- name: write_kill!
INSERT INTO kill_switch (
    kill_id,
    state,
    reason,
    message,
    actor,
    sequence,
    change_time,
    version,
    scope,
    expire_time,
    set_by,
    set_time
)
VALUES (
    $1::text,
    $2::text,
    $3::text,
    $4::text,
    $5::text,
    $6::bigint,
    $7::timestamptz,
    $8::bigint,
    $9::jsonb,
    $10::timestamptz,
    $11::text,
    $12::timestamptz
)
ON CONFLICT (kill_id) DO UPDATE
SET
    state = excluded.state,
    reason = excluded.reason,
    message = excluded.message,
    actor = excluded.actor,
    sequence = excluded.sequence,
    change_time = excluded.change_time,
    version = excluded.version,
    expire_time = excluded.expire_time,
    set_by = excluded.set_by,
    set_time = excluded.set_time;

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
