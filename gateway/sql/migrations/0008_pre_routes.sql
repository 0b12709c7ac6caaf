-- Routes that share users out, adapt their estimates, name a template and a baseline, and remember
-- what they were.
ALTER TABLE route
ADD COLUMN weights integer[] NOT NULL DEFAULT '{}',
ADD COLUMN fallback_template text NOT NULL DEFAULT '',
ADD COLUMN tags text[] NOT NULL DEFAULT '{}',
ADD COLUMN baseline_provider text NOT NULL DEFAULT '',
ADD COLUMN baseline_model text NOT NULL DEFAULT '',
-- 0: estimates are strict.
ADD COLUMN adaptive_percent integer NOT NULL DEFAULT 0,
ADD COLUMN version bigint NOT NULL DEFAULT 1,
ADD COLUMN updater text NOT NULL DEFAULT '',
ADD CONSTRAINT route_weights CHECK (cardinality(weights) IN (0, cardinality(providers))),
ADD CONSTRAINT route_adaptive_percent CHECK (
    adaptive_percent = 0 OR adaptive_percent BETWEEN 100 AND 1000
);

-- What each route was, deletions included. Its versions go on where a deleted route is made again.
CREATE TABLE route_version (
    operation text NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    providers text[] NOT NULL,
    models text[] NOT NULL,
    default_max_output_token_count bigint NOT NULL,
    fallback_text text NOT NULL,
    hold_seconds integer NOT NULL,
    weights integer[] NOT NULL,
    fallback_template text NOT NULL,
    tags text[] NOT NULL,
    baseline_provider text NOT NULL,
    baseline_model text NOT NULL,
    adaptive_percent integer NOT NULL,
    update_time timestamptz NOT NULL,
    -- Who wrote this version.
    updater text NOT NULL,
    -- Why. Empty: they did not say.
    reason text NOT NULL,
    deleted boolean NOT NULL,
    -- The version that was written again. 0: this is no rollback.
    restored_version bigint NOT NULL,
    PRIMARY KEY (operation, version)
);

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
    update_time,
    updater,
    reason,
    deleted,
    restored_version
)
SELECT
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
    update_time,
    updater,
    '',
    FALSE,
    0
FROM route;

-- Gateways that decide by a copy of the routes, and of which version it is. Who changes a route waits
-- for those that were heard of lately.
CREATE TABLE route_reader (
    reader_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    renew_time timestamptz NOT NULL
) WITH (fillfactor = 50);
