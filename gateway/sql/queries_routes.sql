-- name: lock_route_book
-- Changes of routes queue here before any route is looked at: in one order, so that none deadlock.
SELECT version
FROM route_book
FOR UPDATE;

-- name: fetch_route_version
-- Version of the routes.
SELECT version
FROM route_book;

-- name: bump_route_version
-- The version never passes a change that has not committed: whoever bumps it holds its lock.
UPDATE route_book
SET version = version + 1
RETURNING version, pg_notify('headgate_gateway', 'routes');

-- name: list_all_routes
-- Every route, for the gateways' copy, with the version it belongs to.
SELECT
    book.version AS book_version,
    route.operation,
    route.providers,
    route.models,
    route.default_max_output_token_count,
    route.fallback_text,
    route.hold_seconds,
    route.weights,
    route.fallback_template,
    route.tags,
    route.baseline_provider,
    route.baseline_model,
    route.adaptive_percent,
    route.approval_required,
    route.approval_threshold_nanos,
    route.coalesces
FROM route_book AS book
LEFT JOIN route ON TRUE
ORDER BY route.operation;

-- name: list_routes
-- A page of routes in order of their operations, from after one; those with a tag, if it is named.
SELECT
    operation,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds,
    weights,
    fallback_template,
    tags,
    baseline_provider,
    baseline_model,
    adaptive_percent,
    approval_required,
    approval_threshold_nanos,
    coalesces,
    version,
    update_time,
    updater
FROM route
WHERE
    operation COLLATE "C" > $1::text
    AND ($3::text = '' OR tags @> ARRAY[$3::text])
ORDER BY operation COLLATE "C"
LIMIT $2::integer;

-- name: fetch_route
-- One route.
SELECT
    operation,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds,
    weights,
    fallback_template,
    tags,
    baseline_provider,
    baseline_model,
    adaptive_percent,
    approval_required,
    approval_threshold_nanos,
    coalesces,
    version,
    update_time,
    updater
FROM route
WHERE operation = $1::text;

-- name: list_route_versions
-- A page of what a route was, newest version first, from below one.
SELECT
    operation,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds,
    weights,
    fallback_template,
    tags,
    baseline_provider,
    baseline_model,
    adaptive_percent,
    approval_required,
    approval_threshold_nanos,
    coalesces,
    version,
    update_time,
    updater,
    reason,
    deleted,
    restored_version
FROM route_version
WHERE operation = $1::text AND version < $2::bigint
ORDER BY version DESC
LIMIT $3::integer;

-- name: put_route!
-- Creates or replaces a route; its version follows the last one that its operation had.
INSERT INTO route (
    operation,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds,
    weights,
    fallback_template,
    tags,
    baseline_provider,
    baseline_model,
    adaptive_percent,
    approval_required,
    approval_threshold_nanos,
    coalesces,
    version,
    updater
)
VALUES (
    $1::text,
    $2::text[],
    $3::text[],
    $4::bigint,
    $5::text,
    $6::integer,
    $7::integer[],
    $8::text,
    $9::text[],
    $10::text,
    $11::text,
    $12::integer,
    $13::boolean,
    $14::bigint,
    $15::boolean,
    (SELECT coalesce(max(version), 0) + 1 FROM route_version WHERE operation = $1::text),
    $16::text
)
ON CONFLICT (operation) DO UPDATE
SET
    providers = excluded.providers,
    models = excluded.models,
    default_max_output_token_count = excluded.default_max_output_token_count,
    fallback_text = excluded.fallback_text,
    hold_seconds = excluded.hold_seconds,
    weights = excluded.weights,
    fallback_template = excluded.fallback_template,
    tags = excluded.tags,
    baseline_provider = excluded.baseline_provider,
    baseline_model = excluded.baseline_model,
    adaptive_percent = excluded.adaptive_percent,
    approval_required = excluded.approval_required,
    approval_threshold_nanos = excluded.approval_threshold_nanos,
    coalesces = excluded.coalesces,
    version = excluded.version,
    updater = excluded.updater,
    update_time = clock_timestamp();

-- name: record_route_version
-- Remembers what a route is now, or, before its deletion, what it was: that is a version too.
INSERT INTO route_version (
    operation,
    version,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds,
    weights,
    fallback_template,
    tags,
    baseline_provider,
    baseline_model,
    adaptive_percent,
    approval_required,
    approval_threshold_nanos,
    coalesces,
    update_time,
    updater,
    reason,
    deleted,
    restored_version
)
SELECT
    operation,
    CASE WHEN $4::boolean THEN version + 1 ELSE version END,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds,
    weights,
    fallback_template,
    tags,
    baseline_provider,
    baseline_model,
    adaptive_percent,
    approval_required,
    approval_threshold_nanos,
    coalesces,
    CASE WHEN $4::boolean THEN clock_timestamp() ELSE update_time END,
    $2::text,
    $3::text,
    $4::boolean,
    $5::bigint
FROM route
WHERE operation = $1::text
RETURNING *;

-- name: delete_route!
-- Deletes a route.
DELETE FROM route
WHERE operation = $1::text;

-- name: renew_reader!
-- Notes that a gateway decides by a copy of this version now.
INSERT INTO route_reader (reader_id, version, renew_time)
VALUES ($1::uuid, $2::bigint, clock_timestamp())
ON CONFLICT (reader_id) DO UPDATE
SET version = excluded.version, renew_time = excluded.renew_time;

-- name: remove_reader!
-- Forgets a gateway that takes no more calls, and those that were not heard of for an hour.
DELETE FROM route_reader
WHERE reader_id = $1::uuid OR renew_time < clock_timestamp() - interval '1 hour';

-- name: count_old_readers
-- How many gateways heard of within so many seconds decide by a copy older than a version.
SELECT count(*)
FROM route_reader
WHERE
    version < $1::bigint
    AND renew_time > clock_timestamp() - make_interval(secs => $2::double precision);
