-- name: lock_audit
-- Queues behind whoever writes to the audit log: first in a transaction that writes there later.
SELECT pg_advisory_xact_lock(7400, 2);

-- name: insert_audit_entry
-- Appends what somebody wants to change.
INSERT INTO audit_entry (actor, action, target, request_json, reason)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::text)
RETURNING audit_id;

-- name: insert_audit_outcome!
-- Appends what became of it; the first outcome stands.
INSERT INTO audit_outcome (audit_id, done, error)
VALUES ($1::uuid, $2::boolean, $3::text)
ON CONFLICT (audit_id) DO NOTHING;

-- name: list_audit_entries
-- A page of the audit log, newest first, from below a position.
SELECT
    entry.audit_id,
    entry.position,
    entry.create_time,
    entry.actor,
    entry.action,
    entry.target,
    entry.request_json,
    entry.reason,
    outcome.done,
    outcome.error
FROM audit_entry AS entry
LEFT JOIN audit_outcome AS outcome ON outcome.audit_id = entry.audit_id
WHERE entry.position < $1::bigint
ORDER BY entry.position DESC
LIMIT $2::integer;

-- name: list_audit_records
-- A page of the chain, oldest first, from above a position.
SELECT
    link.position,
    link.kind,
    link.audit_id,
    link.hash,
    CASE link.kind
        WHEN 'intent' THEN entry.create_time
        ELSE outcome.create_time
    END AS create_time,
    entry.actor,
    entry.action,
    entry.target,
    entry.request_json,
    entry.reason,
    outcome.done,
    outcome.error
FROM audit_link AS link
INNER JOIN audit_entry AS entry ON entry.audit_id = link.audit_id
LEFT JOIN audit_outcome AS outcome ON outcome.audit_id = link.audit_id
WHERE link.position > $1::bigint
ORDER BY link.position
LIMIT $2::integer;

-- name: count_unlinked
-- Entries and outcomes that stand in no chain: somebody has put them there behind its back.
SELECT
    (
        SELECT count(*) FROM audit_entry AS entry
        WHERE NOT EXISTS (
            SELECT FROM audit_link AS link
            WHERE link.audit_id = entry.audit_id AND link.kind = 'intent'
        )
    )
    + (
        SELECT count(*) FROM audit_outcome AS outcome
        WHERE NOT EXISTS (
            SELECT FROM audit_link AS link
            WHERE link.audit_id = outcome.audit_id AND link.kind = 'outcome'
        )
    );

-- name: list_open_entries
-- Entries without an outcome for some seconds, oldest first: their callers are gone by now.
SELECT
    entry.audit_id::text AS audit_id,
    entry.action
FROM audit_entry AS entry
WHERE entry.create_time < clock_timestamp() - make_interval(secs => $1::double precision)
    AND NOT EXISTS (
        SELECT FROM audit_outcome AS outcome
        WHERE outcome.audit_id = entry.audit_id
    )
ORDER BY entry.position
LIMIT 1000;
