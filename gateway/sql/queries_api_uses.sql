-- name: add_api_uses!
-- Adds counts to those of today.
INSERT INTO api_use AS known (day, method, actor, call_count, refused_count, failed_count)
SELECT
    (clock_timestamp() AT TIME ZONE 'UTC')::date,
    given.method,
    given.actor,
    given.call_count,
    given.refused_count,
    given.failed_count
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) AS given (
    method, actor, call_count, refused_count, failed_count
)
ON CONFLICT (day, method, actor) DO UPDATE
SET
    call_count = known.call_count + excluded.call_count,
    refused_count = known.refused_count + excluded.refused_count,
    failed_count = known.failed_count + excluded.failed_count;

-- name: prune_api_uses!
-- Forgets some of what is too old.
DELETE FROM api_use
WHERE (day, method, actor) IN (
    SELECT
        old.day,
        old.method,
        old.actor
    FROM api_use AS old
    WHERE old.day < (clock_timestamp() AT TIME ZONE 'UTC')::date - $1::integer
    ORDER BY old.day
    LIMIT $2::integer
);

-- name: list_api_uses
-- Sums over the last days by method and caller, the most used first.
SELECT
    method,
    actor,
    sum(call_count)::bigint AS total,
    sum(refused_count)::bigint AS refused,
    sum(failed_count)::bigint AS failed
FROM api_use
WHERE
    day > (clock_timestamp() AT TIME ZONE 'UTC')::date - $1::integer
    AND $2::text IN ('', method)
    AND ($3::text IS NULL OR actor = $3::text)
GROUP BY method, actor
ORDER BY total DESC, method ASC, actor ASC
LIMIT $4::integer;
