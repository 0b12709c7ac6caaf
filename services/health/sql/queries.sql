-- name: read_breakers
-- Reads what decisions about these providers rest on: a row for each unexpired permit, at least
-- one for each provider asked, with NULLs where there is none. Under the breakers' locks, run as
-- a statement of its own, it sees all that was committed before them, and its clock is later.
SELECT
    asked.provider,
    breaker.state,
    breaker.epoch,
    breaker.failure_count,
    breaker.probe_success_count,
    breaker.open_until,
    breaker.change_time,
    breaker.success_time,
    breaker.failure_time,
    breaker.version,
    breaker_probe.org AS probe_org,
    breaker_probe.call_id AS probe_call_id,
    breaker_probe.epoch AS probe_epoch,
    breaker_probe.expire_time AS probe_expire_time,
    clock_timestamp() AS now
FROM unnest($1::text []) AS asked (provider)
LEFT JOIN breaker ON asked.provider = breaker.provider
LEFT JOIN breaker_probe
    ON
        asked.provider = breaker_probe.provider
        AND clock_timestamp() < breaker_probe.expire_time;

-- name: insert_breakers!
-- Makes sure that rows to lock exist. In order of providers, so that two transactions that
-- insert the same ones wait for each other and never in a circle.
INSERT INTO breaker (provider)
SELECT asked.provider
FROM unnest($1::text []) AS asked (provider)
ORDER BY asked.provider
ON CONFLICT (provider) DO NOTHING;

-- name: lock_breakers
-- Locks in order of providers: everybody who locks several takes them in this order.
SELECT breaker.provider
FROM breaker
WHERE breaker.provider = any($1::text [])
ORDER BY breaker.provider
FOR NO KEY UPDATE;

-- name: write_breaker
-- Compare-and-set on the epoch. The row is locked, so a miss is a bug, not a race.
UPDATE breaker
SET
    state = $3::text,
    epoch = $4::bigint,
    failure_count = $5::integer,
    probe_success_count = $6::integer,
    open_until = $7::timestamptz,
    change_time = $8::timestamptz,
    success_time = $9::timestamptz,
    failure_time = $10::timestamptz,
    version = $11::bigint
WHERE provider = $1::text AND epoch = $2::bigint
RETURNING epoch;

-- name: put_permits!
-- A call that still has a permit, expired or of an older epoch, gets it replaced.
INSERT INTO breaker_probe (provider, org, call_id, epoch, expire_time)
SELECT
    new.provider,
    new.org,
    new.call_id,
    new.epoch,
    new.expire_time
FROM unnest($1::text [], $2::text [], $3::uuid [], $4::bigint [], $5::timestamptz [])
    AS new (provider, org, call_id, epoch, expire_time)
ON CONFLICT (provider, org, call_id)
DO UPDATE SET epoch = excluded.epoch, expire_time = excluded.expire_time;

-- name: delete_permits!
DELETE FROM breaker_probe
USING unnest($1::text [], $2::text [], $3::uuid []) AS ended (provider, org, call_id)
WHERE
    breaker_probe.provider = ended.provider
    AND breaker_probe.org = ended.org
    AND breaker_probe.call_id = ended.call_id;

-- name: prune_permits
-- Deletes a batch of expired permits. Takes no lock that anybody holds: those rows are in use,
-- and the next run finds them.
DELETE FROM breaker_probe
WHERE (provider, org, call_id) IN (
    SELECT
        expired.provider,
        expired.org,
        expired.call_id
    FROM breaker_probe AS expired
    WHERE expired.expire_time <= clock_timestamp()
    ORDER BY expired.provider, expired.org, expired.call_id
    LIMIT $1::bigint
    FOR UPDATE SKIP LOCKED
)
RETURNING provider;

-- name: bump_version
-- The last lock of a change: whoever holds it commits next, so commits come in version order.
-- The notification wakes watchers; their poll is behind it.
UPDATE health_version
SET version = version + 1
RETURNING version, pg_notify('headgate_health', version::text);

-- name: read_version
SELECT version FROM health_version;

-- name: read_all_breakers
SELECT
    provider,
    state,
    epoch,
    failure_count,
    probe_success_count,
    open_until,
    change_time,
    success_time,
    failure_time,
    version
FROM breaker
ORDER BY provider;

-- name: read_kills
SELECT
    kill_id,
    state,
    reason,
    message,
    actor,
    sequence,
    change_time,
    version
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
    clock_timestamp() AS now
FROM (SELECT $1::text AS kill_id) AS asked
LEFT JOIN kill_switch ON asked.kill_id = kill_switch.kill_id;

-- name: write_kill!
INSERT INTO kill_switch (kill_id, state, reason, message, actor, sequence, change_time, version)
VALUES (
    $1::text, $2::text, $3::text, $4::text, $5::text, $6::bigint, $7::timestamptz, $8::bigint
)
ON CONFLICT (kill_id) DO UPDATE
SET
    state = excluded.state,
    reason = excluded.reason,
    message = excluded.message,
    actor = excluded.actor,
    sequence = excluded.sequence,
    change_time = excluded.change_time,
    version = excluded.version;

-- name: insert_change!
INSERT INTO change_log (audit_id, target, actor, reason, before, after)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::jsonb, $6::jsonb);
