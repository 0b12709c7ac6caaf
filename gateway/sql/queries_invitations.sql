-- name: revoke_invitations!
-- Revokes what is open for an address: a new invitation takes its place.
UPDATE staff_invitation
SET revoke_time = clock_timestamp()
WHERE email = $1::text AND accept_time IS NULL AND revoke_time IS NULL;

-- name: insert_invitation
-- Stores an invitation.
INSERT INTO staff_invitation
(invitation_id, token_hash, email, staff_id, orgs, roles, inviter, expire_time)
VALUES (
    $1::text,
    $2::bytea,
    $3::text,
    $4::text,
    $5::text[],
    $6::text[],
    $7::text,
    clock_timestamp() + make_interval(secs => $8::double precision)
)
RETURNING
    invitation_id,
    email,
    staff_id,
    orgs,
    roles,
    inviter,
    create_time,
    expire_time,
    accept_time,
    revoke_time,
    position;

-- name: accept_invitation
-- Uses an invitation up; answers nothing if it is used, expired, revoked or unknown.
UPDATE staff_invitation
SET accept_time = clock_timestamp()
WHERE token_hash = $1::bytea
    AND accept_time IS NULL
    AND revoke_time IS NULL
    AND expire_time > clock_timestamp()
RETURNING
    invitation_id,
    email,
    staff_id,
    orgs,
    roles,
    inviter,
    create_time,
    expire_time,
    accept_time,
    revoke_time,
    position;

-- name: find_invitation
-- What a secret is good for; answers nothing if it is used, expired, revoked or unknown.
SELECT
    invitation_id,
    staff_id
FROM staff_invitation
WHERE token_hash = $1::bytea
    AND accept_time IS NULL
    AND revoke_time IS NULL
    AND expire_time > clock_timestamp();

-- name: fetch_invitation
-- One invitation, for whoever is about to change it.
SELECT
    invitation_id,
    email,
    staff_id,
    orgs,
    roles,
    inviter,
    create_time,
    expire_time,
    accept_time,
    revoke_time,
    position
FROM staff_invitation
WHERE invitation_id = $1::text
FOR UPDATE;

-- name: revoke_invitation
-- Revokes an invitation for good; a revoked one keeps its time.
UPDATE staff_invitation
SET revoke_time = coalesce(revoke_time, clock_timestamp())
WHERE invitation_id = $1::text
RETURNING
    invitation_id,
    email,
    staff_id,
    orgs,
    roles,
    inviter,
    create_time,
    expire_time,
    accept_time,
    revoke_time,
    position;

-- name: list_invitations
-- A page of invitations, newest first, from below a position; those for one org, if named.
SELECT
    invitation_id,
    email,
    staff_id,
    orgs,
    roles,
    inviter,
    create_time,
    expire_time,
    accept_time,
    revoke_time,
    position
FROM staff_invitation
WHERE position < $1::bigint AND ($3::text = '' OR $3::text = any(orgs))
ORDER BY position DESC
LIMIT $2::integer;

-- name: insert_bootstrap_token!
-- Stores the token of the installation, unless it is there, used or not.
INSERT INTO bootstrap_token (token_hash)
VALUES ($1::bytea)
ON CONFLICT (token_hash) DO NOTHING;

-- name: is_bootstrap_open
-- Whether the token of the installation makes the first admin yet.
SELECT EXISTS (
    SELECT FROM bootstrap_token
    WHERE token_hash = $1::bytea AND use_time IS NULL
) AND NOT EXISTS (SELECT FROM staff);

-- name: use_bootstrap_token
-- Uses the token of the installation up; answers nothing if it is used or unknown.
UPDATE bootstrap_token
SET use_time = clock_timestamp()
WHERE token_hash = $1::bytea AND use_time IS NULL
RETURNING TRUE;
