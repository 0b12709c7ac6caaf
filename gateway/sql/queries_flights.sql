-- name: join_flight
-- A row comes back if the call leads: nobody did, whoever did is gone, or it leads already. However
-- often its lease is renewed, it ends with the time that a call may take.
INSERT INTO flight AS known (digest, leader, lease_time)
VALUES (
    $1::bytea,
    $2::uuid,
    clock_timestamp() + make_interval(secs => $3::double precision)
)
ON CONFLICT (digest) WHERE answer IS NULL DO UPDATE
SET
    leader = excluded.leader,
    begin_time = CASE
        WHEN known.leader = excluded.leader THEN known.begin_time ELSE excluded.begin_time
    END,
    lease_time = excluded.lease_time
WHERE
    known.lease_time < clock_timestamp()
    OR (
        known.leader = excluded.leader
        AND known.begin_time > clock_timestamp() - make_interval(secs => $4::double precision)
    )
RETURNING leader;

-- name: find_flight
-- Who leads.
SELECT leader
FROM flight
WHERE digest = $1::bytea AND answer IS NULL;

-- name: share_flight
-- Keeps the answer for those who wait, and tells their gateways. Nothing comes back if the call leads no
-- more.
UPDATE flight
SET
    answer = $3::bytea,
    share_time = clock_timestamp(),
    lease_time = clock_timestamp() + make_interval(secs => $4::double precision),
    cost_nanos = $5::bigint,
    provider = $6::text,
    model = $7::text
WHERE digest = $1::bytea AND leader = $2::uuid AND answer IS NULL
RETURNING leader, pg_notify('headgate_gateway_flights', '');

-- name: leave_flight
-- Lets another call lead, and tells whoever waits.
DELETE FROM flight
WHERE digest = $1::bytea AND leader = $2::uuid AND answer IS NULL
RETURNING leader, pg_notify('headgate_gateway_flights', '');

-- name: fetch_flights
-- How those stand that are waited for. Of one that is not there, nobody leads.
SELECT
    flight.digest,
    flight.leader,
    flight.answer,
    flight.share_time,
    flight.cost_nanos,
    flight.provider,
    flight.model
FROM flight
INNER JOIN unnest($1::bytea[], $2::uuid[]) AS wanted (digest, leader)
    ON flight.digest = wanted.digest AND flight.leader = wanted.leader
WHERE flight.lease_time > clock_timestamp();

-- name: prune_flights
-- Removes some of what nobody waits for any more.
WITH removed AS (
    DELETE FROM flight
    WHERE
        (digest, leader) IN (
            SELECT
                digest,
                leader
            FROM flight
            WHERE lease_time < clock_timestamp()
            ORDER BY lease_time
            LIMIT $1::integer
            FOR UPDATE SKIP LOCKED
        )
    RETURNING leader
)

SELECT count(*) FROM removed;
