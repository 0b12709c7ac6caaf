-- name: fetch_staff_session
-- A session by its token's digest, with the seconds for which it goes on if it is not used.
SELECT
    session.staff_id,
    session.expire_time,
    extract(
        EPOCH FROM
        least(session.expire_time, session.use_time + make_interval(secs => $2::double precision))
        - clock_timestamp()
    )::double precision AS remaining_seconds,
    array(
        SELECT one.org FROM staff_grant AS one
        WHERE one.staff_id = session.staff_id ORDER BY one.org
    ) AS orgs,
    array(
        SELECT one.role FROM staff_grant AS one
        WHERE one.staff_id = session.staff_id ORDER BY one.org
    ) AS roles
FROM staff_session AS session
INNER JOIN staff AS member ON member.staff_id = session.staff_id
WHERE session.token_hash = $1::bytea AND member.disable_time IS NULL;

-- name: record_session_uses!
-- Notes that sessions were used, in the order of their digests, each at most once a minute.
WITH used AS (
    SELECT token_hash
    FROM staff_session
    WHERE token_hash = any($1::bytea[]) AND use_time < clock_timestamp() - interval '1 minute'
    ORDER BY token_hash
    FOR UPDATE
)

UPDATE staff_session AS session
SET use_time = clock_timestamp()
FROM used
WHERE session.token_hash = used.token_hash;

-- name: insert_session
-- Begins a session.
INSERT INTO staff_session (token_hash, staff_id, expire_time)
VALUES ($1::bytea, $2::text, clock_timestamp() + make_interval(secs => $3::double precision))
RETURNING expire_time;

-- name: delete_session
-- Ends a session; answers nothing if there is none.
DELETE FROM staff_session
WHERE token_hash = $1::bytea
RETURNING staff_id;

-- name: delete_sessions!
-- Ends all sessions of somebody.
DELETE FROM staff_session
WHERE staff_id = $1::text;

-- name: delete_old_sessions!
-- Ends the sessions of somebody that their time, or lack of use, has ended already.
DELETE FROM staff_session
WHERE staff_id = $1::text
    AND least(expire_time, use_time + make_interval(secs => $2::double precision))
    < clock_timestamp();

-- name: begin_login
-- Counts an attempt to get in before anybody looks at the password, so that many at once gain
-- nothing; answers nothing while the address is locked. A day without failures forgets them.
INSERT INTO login_failure (email_hash, failure_count, failure_time, lock_time)
VALUES ($1::bytea, 1, clock_timestamp(), clock_timestamp())
ON CONFLICT (email_hash) DO UPDATE
SET
    failure_count = CASE
        WHEN login_failure.failure_time < clock_timestamp() - interval '1 day' THEN 1
        ELSE login_failure.failure_count + 1
    END,
    failure_time = clock_timestamp()
WHERE login_failure.lock_time <= clock_timestamp()
RETURNING failure_count;

-- name: lock_login!
-- Locks an address for some seconds.
UPDATE login_failure
SET lock_time = clock_timestamp() + make_interval(secs => $2::double precision)
WHERE email_hash = $1::bytea;

-- name: fetch_login_lock
-- Seconds for which an address is locked yet.
SELECT extract(EPOCH FROM lock_time - clock_timestamp())::double precision
FROM login_failure
WHERE email_hash = $1::bytea;

-- name: forget_login_failures!
-- Forgets the failures of an address, after its password was right.
DELETE FROM login_failure
WHERE email_hash = $1::bytea;

-- name: prune_login_failures!
-- Forgets failures that count no more, a few at a time.
DELETE FROM login_failure
WHERE email_hash IN (
    SELECT email_hash
    FROM login_failure
    WHERE failure_time < clock_timestamp() - interval '1 day' AND lock_time < clock_timestamp()
    ORDER BY failure_time
    LIMIT 100
    FOR UPDATE SKIP LOCKED
);

-- name: fetch_password
-- Whose password an address has, disabled or not.
SELECT
    staff_id,
    password_hash,
    disable_time IS NOT NULL AS is_disabled
FROM staff
WHERE email = $1::text;

-- name: renew_password_hash!
-- Replaces a hash by another one of the same password.
UPDATE staff
SET password_hash = $3::text
WHERE staff_id = $1::text AND password_hash = $2::text;

-- name: set_password!
-- Sets somebody's password.
UPDATE staff
SET password_hash = $2::text
WHERE staff_id = $1::text;

-- name: insert_staff
-- Makes an account; nothing happens if the address has one.
INSERT INTO staff (staff_id, email, name, password_hash)
VALUES ($1::text, $2::text, $3::text, $4::text)
ON CONFLICT (email) DO NOTHING
RETURNING staff_id;

-- name: delete_grants!
-- Takes all roles from somebody.
DELETE FROM staff_grant
WHERE staff_id = $1::text;

-- name: insert_grants!
-- Gives roles to somebody: the n-th for the n-th org.
INSERT INTO staff_grant (staff_id, org, role)
SELECT
    $1::text,
    given.org,
    given.role
FROM unnest($2::text[], $3::text[]) AS given (org, role);

-- name: fetch_staff
-- Somebody with their roles.
SELECT
    member.staff_id,
    member.email,
    member.name,
    member.create_time,
    member.disable_time,
    member.position,
    array(
        SELECT one.org FROM staff_grant AS one
        WHERE one.staff_id = member.staff_id ORDER BY one.org
    ) AS orgs,
    array(
        SELECT one.role FROM staff_grant AS one
        WHERE one.staff_id = member.staff_id ORDER BY one.org
    ) AS roles
FROM staff AS member
WHERE member.staff_id = $1::text;

-- name: list_staff
-- A page of staff, newest first, from below a position; those with a role for one org, if named.
SELECT
    member.staff_id,
    member.email,
    member.name,
    member.create_time,
    member.disable_time,
    member.position,
    array(
        SELECT one.org FROM staff_grant AS one
        WHERE one.staff_id = member.staff_id ORDER BY one.org
    ) AS orgs,
    array(
        SELECT one.role FROM staff_grant AS one
        WHERE one.staff_id = member.staff_id ORDER BY one.org
    ) AS roles
FROM staff AS member
WHERE member.position < $1::bigint
    AND (
        $3::text = ''
        OR EXISTS (
            SELECT FROM staff_grant AS one
            WHERE one.staff_id = member.staff_id AND one.org = $3::text
        )
    )
ORDER BY member.position DESC
LIMIT $2::integer;

-- name: set_disabled!
-- Disables somebody, or lets them in again.
UPDATE staff
SET
    disable_time = CASE
        WHEN $2::boolean THEN coalesce(disable_time, clock_timestamp())
    END
WHERE staff_id = $1::text;

-- name: count_admins
-- How many can administer the whole platform.
SELECT count(*)
FROM staff_grant AS given
INNER JOIN staff AS member ON member.staff_id = given.staff_id
WHERE given.org = '' AND given.role = 'admin' AND member.disable_time IS NULL;

-- name: count_staff
-- How many accounts there are.
SELECT count(*)
FROM staff;
