-- name: fetch_route_version
-- Version of the routes.
SELECT version
FROM route_book;

-- name: bump_route_version
-- Locks the book before any route: changes of routes queue here, in one order, so none deadlock
-- and the version never passes a change that has not committed.
UPDATE route_book
SET version = version + 1
RETURNING version, pg_notify('headgate_gateway', 'routes');

-- name: list_all_routes
-- Every route, for the gateways' copy, with the version it belongs to.
SELECT
    book.version,
    route.operation,
    route.providers,
    route.models,
    route.default_max_output_token_count,
    route.fallback_text,
    route.hold_seconds
FROM route_book AS book
LEFT JOIN route ON TRUE
ORDER BY route.operation;

-- name: list_routes
-- A page of routes in order of their operations, from after one.
SELECT
    operation,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds
FROM route
WHERE operation COLLATE "C" > $1::text
ORDER BY operation COLLATE "C"
LIMIT $2::integer;

-- name: put_route!
-- Creates or replaces a route.
INSERT INTO route (
    operation,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds
)
VALUES ($1::text, $2::text[], $3::text[], $4::bigint, $5::text, $6::integer)
ON CONFLICT (operation) DO UPDATE
SET
    providers = excluded.providers,
    models = excluded.models,
    default_max_output_token_count = excluded.default_max_output_token_count,
    fallback_text = excluded.fallback_text,
    hold_seconds = excluded.hold_seconds,
    update_time = clock_timestamp();

-- name: insert_route
-- Creates a route unless its operation has one.
INSERT INTO route (
    operation,
    providers,
    models,
    default_max_output_token_count,
    fallback_text,
    hold_seconds
)
VALUES ($1::text, $2::text[], $3::text[], $4::bigint, $5::text, $6::integer)
ON CONFLICT (operation) DO NOTHING
RETURNING operation;

-- name: delete_route
-- Deletes a route; answers nothing if there was none.
DELETE FROM route
WHERE operation = $1::text
RETURNING operation;
