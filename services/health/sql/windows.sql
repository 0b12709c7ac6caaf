-- name: insert_moves!
-- Appends changes of state to the history.
INSERT INTO circuit_move (
    provider,
    model,
    credential,
    epoch,
    before_state,
    after_state,
    forced,
    cause,
    failure_count,
    open_until,
    actor,
    reason,
    move_time
)
SELECT
    new.provider,
    new.model,
    new.credential,
    new.epoch,
    new.before_state,
    new.after_state,
    new.forced,
    new.cause,
    new.failure_count,
    new.open_until,
    new.actor,
    new.reason,
    new.move_time
FROM unnest(
    $1::text [],
    $2::text [],
    $3::text [],
    $4::bigint [],
    $5::text [],
    $6::text [],
    $7::text [],
    $8::text [],
    $9::integer [],
    $10::timestamptz [],
    $11::text [],
    $12::text [],
    $13::timestamptz []
) AS new (
    provider,
    model,
    credential,
    epoch,
    before_state,
    after_state,
    forced,
    cause,
    failure_count,
    open_until,
    actor,
    reason,
    move_time
);

-- name: list_moves
-- A page of the history, newest first, from below an id; of one provider, or of all.
SELECT
    move_id,
    provider,
    model,
    credential,
    epoch,
    before_state,
    after_state,
    forced,
    cause,
    failure_count,
    open_until,
    actor,
    reason,
    move_time
FROM circuit_move
WHERE move_id < $1::bigint AND ($2::text = '' OR provider = $2::text)
ORDER BY move_id DESC
LIMIT $3::integer;

-- name: read_windows
-- Reads the last minute of these circuits. Run after the providers' locks.
SELECT
    asked.provider,
    asked.model,
    asked.credential,
    circuit_window.slots::text AS slots,
    circuit_window.call_count,
    circuit_window.error_rate_percent,
    circuit_window.latency_p50_ms,
    circuit_window.latency_p95_ms,
    circuit_window.version
FROM unnest($1::text [], $2::text [], $3::text []) AS asked (provider, model, credential)
LEFT JOIN circuit_window
    ON
        asked.provider = circuit_window.provider
        AND asked.model = circuit_window.model
        AND asked.credential = circuit_window.credential;

-- name: write_window!
INSERT INTO circuit_window (
    provider,
    model,
    credential,
    slots,
    call_count,
    error_rate_percent,
    latency_p50_ms,
    latency_p95_ms,
    version
)
VALUES (
    $1::text,
    $2::text,
    $3::text,
    $4::jsonb,
    $5::bigint,
    $6::integer,
    $7::bigint,
    $8::bigint,
    $9::bigint
)
ON CONFLICT (provider, model, credential) DO UPDATE
SET
    slots = excluded.slots,
    call_count = excluded.call_count,
    error_rate_percent = excluded.error_rate_percent,
    latency_p50_ms = excluded.latency_p50_ms,
    latency_p95_ms = excluded.latency_p95_ms,
    version = excluded.version,
    update_time = clock_timestamp();

-- name: list_old_figures
-- Providers whose figures speak of calls that are long over.
SELECT provider
FROM circuit_window
WHERE
    model = '' AND credential = '' AND call_count > 0
    AND update_time < clock_timestamp() - interval '60 seconds';

-- name: prune_permits
-- Deletes a batch of expired permits. Takes no lock that anybody holds: those rows are in use,
-- and the next run finds them.
DELETE FROM circuit_permit
WHERE (provider, org, call_id, model, credential) IN (
    SELECT
        expired.provider,
        expired.org,
        expired.call_id,
        expired.model,
        expired.credential
    FROM circuit_permit AS expired
    WHERE expired.expire_time <= clock_timestamp()
    ORDER BY expired.provider, expired.org, expired.call_id
    LIMIT $1::bigint
    FOR UPDATE SKIP LOCKED
)
RETURNING provider;

-- name: prune_parts!
-- Deletes parts that have been closed, and failed nothing, for a week, and providers that were
-- never more than seen. Their epochs are no loss: a provider that has one is kept.
DELETE FROM circuit
WHERE (provider, model, credential) IN (
    SELECT
        idle.provider,
        idle.model,
        idle.credential
    FROM circuit AS idle
    WHERE
        idle.state = 'closed' AND idle.forced = '' AND idle.last_epoch = 0
        AND coalesce(greatest(idle.change_time, idle.success_time, idle.failure_time), now())
        < now() - interval '7 days'
    ORDER BY idle.provider, idle.model, idle.credential
    FOR UPDATE SKIP LOCKED
);

-- name: prune_windows!
DELETE FROM circuit_window WHERE update_time < clock_timestamp() - interval '1 day';

-- name: prune_moves!
DELETE FROM circuit_move WHERE move_time < clock_timestamp() - interval '90 days';
