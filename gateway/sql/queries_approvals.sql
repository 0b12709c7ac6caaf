-- name: insert_approval
-- Asks people; nothing comes back if the call is asked about already.
INSERT INTO approval (
    org,
    call_id,
    operation,
    requester,
    subject,
    summary,
    need,
    providers,
    models,
    cost_nanos_max,
    dimensions,
    expire_time
)
VALUES (
    $1::text,
    $2::uuid,
    $3::text,
    $4::text,
    $5::bytea,
    $6::text,
    $7::integer,
    $8::text[],
    $9::text[],
    $10::bigint,
    $11::jsonb,
    clock_timestamp() + make_interval(secs => $12::double precision)
)
ON CONFLICT (org, call_id) DO NOTHING
RETURNING approval_id;

-- name: count_pending_approvals
-- How many requests of an org wait for people.
SELECT count(*)
FROM approval
WHERE org = $1::text AND approved IS NULL AND expire_time > clock_timestamp();

-- name: lock_approval
-- Decisions on one request queue here.
SELECT approval_id
FROM approval
WHERE approval_id = $1::uuid
FOR UPDATE;

-- name: fetch_approvals
-- Requests by their ids, and the one about a call, if that is given.
SELECT
    approval_id,
    position,
    org,
    call_id,
    operation,
    requester,
    subject,
    summary,
    need,
    providers,
    models,
    cost_nanos_max,
    dimensions,
    create_time,
    expire_time,
    approved,
    expire_time <= clock_timestamp() AS is_over,
    decide_time,
    decider,
    reason,
    attempt_ids
FROM approval
WHERE approval_id = any($1::uuid[]) OR (org = $2::text AND call_id = $3::uuid);

-- name: list_approvals
-- A page of requests, newest first, from below a position; the states are those of the contract.
SELECT
    approval_id,
    position,
    org,
    call_id,
    operation,
    requester,
    subject,
    summary,
    need,
    providers,
    models,
    cost_nanos_max,
    dimensions,
    create_time,
    expire_time,
    approved,
    expire_time <= clock_timestamp() AS is_over,
    decide_time,
    decider,
    reason,
    attempt_ids
FROM approval
WHERE
    position < $1::bigint
    AND ($3::text = '' OR org = $3::text)
    AND ($4::text = '' OR operation = $4::text)
    AND CASE $5::integer
        WHEN 1 THEN approved IS NULL AND expire_time > clock_timestamp()
        WHEN 2 THEN approved IS TRUE
        WHEN 3 THEN approved IS FALSE
        WHEN 4 THEN approved IS NULL AND expire_time <= clock_timestamp()
        ELSE TRUE
    END
ORDER BY position DESC
LIMIT $2::integer;

-- name: decide_approval
-- Writes down what somebody decided, and tells whoever waits. A leave may be used for a while from now
-- on, however late it was given.
UPDATE approval
SET
    approved = $2::boolean,
    decide_time = clock_timestamp(),
    decider = $3::text,
    reason = $4::text,
    expire_time = CASE
        WHEN $2::boolean THEN
            greatest(expire_time, clock_timestamp() + make_interval(secs => $5::double precision))
        ELSE expire_time
    END
WHERE approval_id = $1::uuid
RETURNING approval_id, pg_notify('headgate_gateway', 'approvals');

-- name: add_approval_attempt
-- Notes an attempt that takes the place of the call, unless there were as many as it excludes
-- candidates, or as there are others to go to. It comes back if it is noted, now or before.
UPDATE approval
SET
    attempt_ids = CASE
        WHEN $2::uuid = any(attempt_ids) THEN attempt_ids
        ELSE array_append(attempt_ids, $2::uuid)
    END
WHERE
    approval_id = $1::uuid
    AND (
        $2::uuid = any(attempt_ids)
        OR (
            cardinality(attempt_ids) + 1 < cardinality(providers)
            AND cardinality(attempt_ids) + 1 <= $3::integer
        )
    )
RETURNING approval_id;

-- name: list_untold_approvals
-- Requests and decisions that no event tells of yet, oldest first.
SELECT
    approval_id,
    NOT request_told AS request_due,
    approved IS NOT NULL AND NOT decision_told AS decision_due
FROM approval
WHERE NOT request_told OR (approved IS NOT NULL AND NOT decision_told)
ORDER BY position
LIMIT 100;

-- name: note_told_approval!
-- Notes that events tell of a request, or of the decision.
UPDATE approval
SET request_told = request_told OR $2::boolean, decision_told = decision_told OR $3::boolean
WHERE approval_id = $1::uuid;
