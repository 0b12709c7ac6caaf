-- name: read_circuits
-- Reads what decisions about these circuits rest on: a row for each unexpired permit, at least
-- one for each circuit asked, with NULLs where there is none. Under the providers' locks, run as
-- a statement of its own, it sees all that was committed before them, and its clock is later.
SELECT
    asked.provider,
    asked.model,
    asked.credential,
    circuit.state,
    circuit.epoch,
    circuit.last_epoch,
    circuit.failure_count,
    circuit.failure_orgs,
    circuit.probe_success_count,
    circuit.open_count,
    circuit.open_until,
    circuit.cool_until,
    circuit.refuse_time,
    circuit.forced,
    circuit.change_time,
    circuit.success_time,
    circuit.failure_time,
    circuit.version,
    circuit_permit.org AS permit_org,
    circuit_permit.call_id AS permit_call_id,
    circuit_permit.epoch AS permit_epoch,
    circuit_permit.expire_time AS permit_expire_time,
    clock_timestamp() AS now
FROM unnest($1::text [], $2::text [], $3::text []) AS asked (provider, model, credential)
LEFT JOIN circuit
    ON
        asked.provider = circuit.provider
        AND asked.model = circuit.model
        AND asked.credential = circuit.credential
LEFT JOIN circuit_permit
    ON
        asked.provider = circuit_permit.provider
        AND asked.model = circuit_permit.model
        AND asked.credential = circuit_permit.credential
        AND clock_timestamp() < circuit_permit.expire_time;

-- name: insert_providers!
-- Makes sure that rows to lock exist. In order of providers, so that two transactions that
-- insert the same ones wait for each other and never in a circle.
INSERT INTO circuit (provider)
SELECT asked.provider
FROM unnest($1::text []) AS asked (provider)
ORDER BY asked.provider
ON CONFLICT (provider, model, credential) DO NOTHING;

-- name: lock_providers
-- Locks in order of providers: everybody who locks several takes them in this order. The lock of
-- a provider's own row covers all of its rows.
SELECT circuit.provider
FROM circuit
WHERE circuit.provider = any($1::text []) AND circuit.model = '' AND circuit.credential = ''
ORDER BY circuit.provider
FOR NO KEY UPDATE;

-- name: write_circuit
-- Compare-and-set on the epoch. The provider is locked, so a miss is a bug, not a race.
INSERT INTO circuit (
    provider,
    model,
    credential,
    state,
    epoch,
    last_epoch,
    failure_count,
    failure_orgs,
    probe_success_count,
    open_count,
    open_until,
    cool_until,
    forced,
    change_time,
    success_time,
    failure_time,
    version,
    refuse_time
)
VALUES (
    $1::text,
    $2::text,
    $3::text,
    $5::text,
    $6::bigint,
    $7::bigint,
    $8::integer,
    $9::text [],
    $10::integer,
    $11::integer,
    $12::timestamptz,
    $13::timestamptz,
    $14::text,
    $15::timestamptz,
    $16::timestamptz,
    $17::timestamptz,
    $18::bigint,
    $19::timestamptz
)
ON CONFLICT (provider, model, credential) DO UPDATE
SET
    state = excluded.state,
    epoch = excluded.epoch,
    last_epoch = excluded.last_epoch,
    failure_count = excluded.failure_count,
    failure_orgs = excluded.failure_orgs,
    probe_success_count = excluded.probe_success_count,
    open_count = excluded.open_count,
    open_until = excluded.open_until,
    cool_until = excluded.cool_until,
    forced = excluded.forced,
    change_time = excluded.change_time,
    success_time = excluded.success_time,
    failure_time = excluded.failure_time,
    version = excluded.version,
    refuse_time = excluded.refuse_time
WHERE circuit.epoch = $4::bigint
RETURNING epoch;

-- name: put_permits!
-- A call that still has a permit, expired or of an older epoch, gets it replaced.
INSERT INTO circuit_permit (provider, model, credential, org, call_id, epoch, expire_time)
SELECT
    new.provider,
    new.model,
    new.credential,
    new.org,
    new.call_id,
    new.epoch,
    new.expire_time
FROM unnest(
    $1::text [],
    $2::text [],
    $3::text [],
    $4::text [],
    $5::uuid [],
    $6::bigint [],
    $7::timestamptz []
) AS new (provider, model, credential, org, call_id, epoch, expire_time)
ON CONFLICT (provider, org, call_id, model, credential)
DO UPDATE SET epoch = excluded.epoch, expire_time = excluded.expire_time;

-- name: delete_permits!
-- Ends all permits of these calls with these providers.
DELETE FROM circuit_permit
USING unnest($1::text [], $2::text [], $3::uuid []) AS ended (provider, org, call_id)
WHERE
    circuit_permit.provider = ended.provider
    AND circuit_permit.org = ended.org
    AND circuit_permit.call_id = ended.call_id;

-- name: read_all_circuits
SELECT
    circuit.provider,
    circuit.model,
    circuit.credential,
    circuit.state,
    circuit.epoch,
    circuit.last_epoch,
    circuit.failure_count,
    circuit.failure_orgs,
    circuit.probe_success_count,
    circuit.open_count,
    circuit.open_until,
    circuit.cool_until,
    circuit.refuse_time,
    circuit.forced,
    circuit.change_time,
    circuit.success_time,
    circuit.failure_time,
    circuit.version,
    circuit_window.call_count,
    circuit_window.error_rate_percent,
    circuit_window.latency_p50_ms,
    circuit_window.latency_p95_ms,
    circuit_window.version AS figures_version
FROM circuit
LEFT JOIN circuit_window
    ON
        circuit.provider = circuit_window.provider
        AND circuit.model = circuit_window.model
        AND circuit.credential = circuit_window.credential
ORDER BY circuit.provider, circuit.model, circuit.credential;
