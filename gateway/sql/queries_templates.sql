-- name: list_all_templates
-- Every template as it is now, for the gateways' copy.
SELECT
    newest.template_id,
    newest.default_locale,
    newest.is_html,
    newest.texts::text AS texts
FROM (
    SELECT DISTINCT ON (template_id)
        template_id,
        default_locale,
        is_html,
        texts,
        deleted
    FROM template_revision
    ORDER BY template_id ASC, revision DESC
) AS newest
WHERE NOT newest.deleted;

-- name: list_templates
-- A page of templates as they are now, in order of their names, from after one.
SELECT
    newest.template_id,
    newest.revision,
    newest.default_locale,
    newest.is_html,
    newest.texts::text AS texts,
    newest.deleted,
    newest.actor,
    newest.reason,
    newest.change_time
FROM (
    SELECT DISTINCT ON (template_id COLLATE "C")
        template_id,
        revision,
        default_locale,
        is_html,
        texts,
        deleted,
        actor,
        reason,
        change_time
    FROM template_revision
    WHERE template_id COLLATE "C" > $1::text
    ORDER BY template_id COLLATE "C", revision DESC
) AS newest
WHERE NOT newest.deleted
ORDER BY newest.template_id COLLATE "C"
LIMIT $2::integer;

-- name: read_template
-- One revision of a template; 0 is the newest.
SELECT
    template_id,
    revision,
    default_locale,
    is_html,
    texts::text AS texts,
    deleted,
    actor,
    reason,
    change_time
FROM template_revision
WHERE template_id = $1::text AND (revision = $2::integer OR $2::integer = 0)
ORDER BY revision DESC
LIMIT 1;

-- name: list_template_revisions
-- A page of a template's history, newest first, from below a revision.
SELECT
    template_id,
    revision,
    default_locale,
    is_html,
    texts::text AS texts,
    deleted,
    actor,
    reason,
    change_time
FROM template_revision
WHERE template_id = $1::text AND revision < $2::bigint
ORDER BY revision DESC
LIMIT $3::integer;

-- name: sum_templates
-- How many templates there are besides one, and the bytes of their texts.
SELECT
    count(*) AS template_count,
    coalesce(sum(octet_length(newest.texts::text)), 0) AS byte_count
FROM (
    SELECT DISTINCT ON (template_id)
        template_id,
        texts,
        deleted
    FROM template_revision
    ORDER BY template_id ASC, revision DESC
) AS newest
WHERE NOT newest.deleted AND newest.template_id <> $1::text;

-- name: insert_template_revision
-- Appends a revision, under the lock that bump_route_version takes.
INSERT INTO template_revision (
    template_id,
    revision,
    default_locale,
    is_html,
    texts,
    deleted,
    actor,
    reason
)
VALUES (
    $1::text,
    $2::integer,
    $3::text,
    $4::boolean,
    $5::jsonb,
    $6::boolean,
    $7::text,
    $8::text
)
RETURNING
    template_id,
    revision,
    default_locale,
    is_html,
    texts::text AS texts,
    deleted,
    actor,
    reason,
    change_time;

-- name: prune_template_revisions!
-- Drops what is older than the newest revisions that are kept.
DELETE FROM template_revision
WHERE template_id = $1::text AND revision <= $2::integer;
