-- name: list_all_orgs
-- Every org, for the gateways' copy.
SELECT
    org,
    display_name,
    time_zone,
    owner,
    contacts,
    cost_centre,
    discount_basis_points,
    suspended,
    suspend_reason,
    version,
    create_time,
    update_time,
    updater
FROM org;

-- name: list_orgs
-- A page of orgs in order of their names, from after one; only those named, unless NULL.
SELECT
    org,
    display_name,
    time_zone,
    owner,
    contacts,
    cost_centre,
    discount_basis_points,
    suspended,
    suspend_reason,
    version,
    create_time,
    update_time,
    updater
FROM org
WHERE
    org COLLATE "C" > $1::text
    AND ($3::text [] IS NULL OR org = any($3::text []))
ORDER BY org COLLATE "C"
LIMIT $2::integer;

-- name: fetch_org
SELECT
    org,
    display_name,
    time_zone,
    owner,
    contacts,
    cost_centre,
    discount_basis_points,
    suspended,
    suspend_reason,
    version,
    create_time,
    update_time,
    updater
FROM org
WHERE org = $1::text;

-- name: put_org
INSERT INTO org (
    org, display_name, time_zone, owner, contacts, cost_centre, discount_basis_points, suspended,
    suspend_reason, updater
)
VALUES (
    $1::text, $2::text, $3::text, $4::text, $5::text [], $6::text, $7::integer, $8::boolean,
    $9::text, $10::text
)
ON CONFLICT (org) DO UPDATE
SET
    display_name = excluded.display_name,
    time_zone = excluded.time_zone,
    owner = excluded.owner,
    contacts = excluded.contacts,
    cost_centre = excluded.cost_centre,
    discount_basis_points = excluded.discount_basis_points,
    suspended = excluded.suspended,
    suspend_reason = excluded.suspend_reason,
    updater = excluded.updater,
    version = org.version + 1,
    update_time = clock_timestamp()
RETURNING
    org,
    display_name,
    time_zone,
    owner,
    contacts,
    cost_centre,
    discount_basis_points,
    suspended,
    suspend_reason,
    version,
    create_time,
    update_time,
    updater;
