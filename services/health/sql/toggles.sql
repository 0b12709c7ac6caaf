-- name: lock_toggles
-- Serialises changes of toggles. Run alone and first, so that the reading after it is fresh.
SELECT pg_advisory_xact_lock(7403, 2);

-- name: read_toggles
-- All toggles with their rules, a row for each rule, deleted toggles too.
SELECT
    toggle.toggle_id,
    toggle.description,
    toggle.enabled,
    toggle.locked,
    toggle.shipped,
    toggle.deleted,
    toggle.change_time,
    toggle.version,
    toggle_rule.org,
    toggle_rule.operation,
    toggle_rule.enabled AS rule_enabled
FROM toggle
LEFT JOIN toggle_rule ON toggle.toggle_id = toggle_rule.toggle_id
ORDER BY toggle.toggle_id, toggle_rule.org, toggle_rule.operation;

-- name: write_toggle!
INSERT INTO toggle (toggle_id, description, enabled, deleted, change_time, version)
VALUES ($1::text, $2::text, $3::boolean, $4::boolean, clock_timestamp(), $5::bigint)
ON CONFLICT (toggle_id) DO UPDATE
SET
    description = excluded.description,
    enabled = excluded.enabled,
    deleted = excluded.deleted,
    change_time = excluded.change_time,
    version = excluded.version;

-- name: put_toggle_rule!
INSERT INTO toggle_rule (toggle_id, org, operation, enabled)
VALUES ($1::text, $2::text, $3::text, $4::boolean)
ON CONFLICT (toggle_id, org, operation) DO UPDATE SET enabled = excluded.enabled;

-- name: delete_toggle_rule!
DELETE FROM toggle_rule
WHERE toggle_id = $1::text AND org = $2::text AND operation = $3::text;

-- name: insert_toggle_change!
INSERT INTO toggle_change (toggle_id, org, operation, before, after, actor, reason, audit_id)
VALUES (
    $1::text,
    $2::text,
    $3::text,
    $4::boolean,
    $5::boolean,
    $6::text,
    $7::text,
    $8::text
);

-- name: list_toggle_changes
-- A page of changes, newest first, from below an id; of one toggle, or of all.
SELECT
    change_id,
    toggle_id,
    org,
    operation,
    before,
    after,
    actor,
    reason,
    change_time
FROM toggle_change
WHERE change_id < $1::bigint AND ($2::text = '' OR toggle_id = $2::text)
ORDER BY change_id DESC
LIMIT $3::integer;
