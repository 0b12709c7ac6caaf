-- name: begin_http_request
-- Notes that a request with a key is under way. A row comes back if it may be: the key is new,
-- its answer is too old, or whoever began it has died.
INSERT INTO http_answer AS known (digest, request_digest)
VALUES ($1::bytea, $2::bytea)
ON CONFLICT (digest) DO UPDATE
SET
    request_digest = excluded.request_digest,
    begin_time = excluded.begin_time,
    answer = NULL
WHERE
    known.begin_time < clock_timestamp() - make_interval(secs => $3::double precision)
    OR (
        known.answer IS NULL AND known.request_digest = excluded.request_digest
        AND known.begin_time < clock_timestamp() - make_interval(secs => $4::double precision)
    )
RETURNING begin_time;

-- name: fetch_http_answer
-- What a request with this key was, and was answered.
SELECT
    request_digest,
    answer
FROM http_answer
WHERE digest = $1::bytea;

-- name: end_http_request
-- Keeps the answer, unless somebody else took the request over meanwhile.
UPDATE http_answer
SET answer = $3::bytea
WHERE digest = $1::bytea AND begin_time = $2::timestamptz
RETURNING digest;

-- name: forget_http_request
-- A request that failed may be made again.
DELETE FROM http_answer
WHERE digest = $1::bytea AND begin_time = $2::timestamptz
RETURNING digest;

-- name: prune_http_answers
-- Removes some of the answers that are too old, and says how many.
WITH removed AS (
    DELETE FROM http_answer
    WHERE
        digest IN (
            SELECT digest
            FROM http_answer
            WHERE begin_time < clock_timestamp() - make_interval(secs => $1::double precision)
            ORDER BY begin_time
            LIMIT $2::int
            FOR UPDATE SKIP LOCKED
        )
    RETURNING digest
)

SELECT count(*) FROM removed;
