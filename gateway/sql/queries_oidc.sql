-- name: insert_oidc_login
-- Begins a login unless too many are under way; removes those that are over.
WITH gone AS (
    DELETE FROM oidc_login
    WHERE expire_time <= clock_timestamp()
)

INSERT INTO oidc_login (login_hash, state_hash, nonce, verifier, redirect_uri, expire_time)
SELECT
    $1::bytea,
    $2::bytea,
    $3::text,
    $4::text,
    $5::text,
    clock_timestamp() + make_interval(secs => $6::double precision)
WHERE
    (
        SELECT count(*) FROM oidc_login AS other
        WHERE other.expire_time > clock_timestamp()
    ) < $7::bigint
RETURNING expire_time;

-- name: take_oidc_login
-- Uses a login up that is not over, and tells the time.
DELETE FROM oidc_login
WHERE login_hash = $1::bytea AND expire_time > clock_timestamp()
RETURNING state_hash, nonce, verifier, redirect_uri, clock_timestamp() AS now;

-- name: fetch_identity
-- Whom the provider names so.
SELECT staff_id FROM staff_identity
WHERE issuer = $1::text AND subject = $2::text;

-- name: insert_identity!
-- Remembers whom the provider names so.
INSERT INTO staff_identity (issuer, subject, staff_id)
VALUES ($1::text, $2::text, $3::text);
