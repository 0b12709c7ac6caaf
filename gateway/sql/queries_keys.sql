-- name: fetch_key
-- One key by its public part, valid or not, with the seconds for which it is valid yet.
SELECT
    key_id,
    role,
    orgs,
    operations,
    key_hash,
    revoke_time IS NOT NULL AS is_revoked,
    extract(EPOCH FROM expire_time - clock_timestamp())::double precision AS remaining_seconds
FROM api_key
WHERE key_id = $1::text;

-- name: fetch_key_version
-- Version of the keys.
SELECT version
FROM key_book;

-- name: bump_key_version
-- Locks the book before any key, so that the version never passes a change that has not committed.
-- The gateways hear of it when that happens.
UPDATE key_book
SET version = version + 1
RETURNING version, pg_notify('headgate_gateway', 'keys');

-- name: list_keys
-- A page of keys, newest first, from below a position; those that act for one org, if it is named.
SELECT
    key.key_id,
    key.name,
    key.role,
    key.orgs,
    key.operations,
    key.create_time,
    key.expire_time,
    key.revoke_time,
    key.replaces,
    key.position,
    used.use_time
FROM api_key AS key
LEFT JOIN api_key_use AS used ON used.key_id = key.key_id
WHERE key.position < $1::bigint
    AND ($3::text = '' OR $3::text = any(key.orgs))
ORDER BY key.position DESC
LIMIT $2::integer;

-- name: lock_key
-- One key, for whoever is about to change it, and whether it is valid.
SELECT
    key_id,
    name,
    role,
    orgs,
    operations,
    create_time,
    expire_time,
    revoke_time,
    replaces,
    revoke_time IS NULL AND coalesce(expire_time > clock_timestamp(), TRUE) AS is_valid
FROM api_key
WHERE key_id = $1::text
FOR UPDATE;

-- name: insert_key
-- Stores a key; nothing happens if its public part exists.
INSERT INTO api_key (key_id, name, role, orgs, operations, key_hash, expire_time)
VALUES ($1::text, $2::text, $3::text, $4::text[], $5::text[], $6::bytea, $7::timestamptz)
ON CONFLICT (key_id) DO NOTHING
RETURNING
    key_id,
    name,
    role,
    orgs,
    operations,
    create_time,
    expire_time,
    revoke_time,
    replaces;

-- name: replace_key
-- Stores a key that may do what another one may, for as long as that one was to live.
INSERT INTO api_key (key_id, name, role, orgs, operations, key_hash, expire_time, replaces)
SELECT
    $2::text,
    old.name,
    old.role,
    old.orgs,
    old.operations,
    $3::bytea,
    clock_timestamp() + (old.expire_time - old.create_time),
    old.key_id
FROM api_key AS old
WHERE old.key_id = $1::text
ON CONFLICT (key_id) DO NOTHING
RETURNING
    key_id,
    name,
    role,
    orgs,
    operations,
    create_time,
    expire_time,
    revoke_time,
    replaces;

-- name: expire_key
-- Lets a key end after some seconds, if it does not end before.
UPDATE api_key
SET
    expire_time = least(
        expire_time, clock_timestamp() + make_interval(secs => $2::double precision)
    )
WHERE key_id = $1::text
RETURNING
    key_id,
    name,
    role,
    orgs,
    operations,
    create_time,
    expire_time,
    revoke_time,
    replaces;

-- name: revoke_key
-- Revokes a key for good; a revoked one keeps its time.
UPDATE api_key
SET revoke_time = coalesce(revoke_time, clock_timestamp())
WHERE key_id = $1::text
RETURNING
    key_id,
    name,
    role,
    orgs,
    operations,
    create_time,
    expire_time,
    revoke_time,
    replaces;

-- name: record_key_uses!
-- Notes that keys were used, in the order of their ids, each at most once a minute whoever writes.
INSERT INTO api_key_use (key_id, use_time)
SELECT
    key.key_id,
    clock_timestamp()
FROM api_key AS key
LEFT JOIN api_key_use AS used ON used.key_id = key.key_id
WHERE key.key_id = any($1::text[])
    AND coalesce(used.use_time < clock_timestamp() - interval '1 minute', TRUE)
ORDER BY key.key_id
ON CONFLICT (key_id) DO UPDATE
SET use_time = excluded.use_time
WHERE api_key_use.use_time < excluded.use_time;
