-- name: insert_increase
-- Asks for more room, until an instant that lies ahead, once for each id.
INSERT INTO budget_increase (
    increase_id, org, limit_id, metric, amount, end_time, reason, requester
)
SELECT
    $1::uuid, $2::text, $3::text, $4::smallint, $5::bigint, $6::timestamptz, $7::text, $8::text
WHERE
    $6::timestamptz > clock_timestamp()
    AND $6::timestamptz <= clock_timestamp() + interval '366 days'
ON CONFLICT (increase_id) DO NOTHING
RETURNING increase_id;

-- name: lock_increase
-- Decisions on one request queue here.
SELECT increase_id
FROM budget_increase
WHERE increase_id = $1::uuid
FOR UPDATE;

-- name: fetch_increase
-- One request.
SELECT
    increase_id,
    position,
    org,
    limit_id,
    metric,
    amount,
    end_time,
    reason,
    requester,
    create_time,
    approved,
    end_time <= clock_timestamp() AS is_over,
    decide_time,
    decider,
    decision_reason
FROM budget_increase
WHERE increase_id = $1::uuid;

-- name: list_increases
-- A page of requests, newest first, from below a position; the states are those of the contract.
SELECT
    increase_id,
    position,
    org,
    limit_id,
    metric,
    amount,
    end_time,
    reason,
    requester,
    create_time,
    approved,
    end_time <= clock_timestamp() AS is_over,
    decide_time,
    decider,
    decision_reason
FROM budget_increase
WHERE
    position < $1::bigint
    AND ($3::text = '' OR org = $3::text)
    AND CASE $4::integer
        WHEN 1 THEN approved IS NULL AND end_time > clock_timestamp()
        WHEN 2 THEN approved IS TRUE
        WHEN 3 THEN approved IS FALSE
        WHEN 4 THEN approved IS NULL AND end_time <= clock_timestamp()
        ELSE TRUE
    END
ORDER BY position DESC
LIMIT $2::integer;

-- name: decide_increase!
-- Writes down what somebody decided.
UPDATE budget_increase
SET
    approved = $2::boolean,
    decide_time = clock_timestamp(),
    decider = $3::text,
    decision_reason = $4::text
WHERE increase_id = $1::uuid;
