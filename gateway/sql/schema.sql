-- The whole schema of the gateway. sql/migrations builds exactly this; a test compares the two.
-- Every instant is the database's clock.

-- Who may call. The whole key is stored nowhere, only its SHA-256: it has 256 bits of its own
-- entropy, so no slow hash is needed. Revoked keys stay, because usage and audit name them.
CREATE TABLE api_key (
    key_id text PRIMARY KEY,
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('backend', 'viewer', 'editor', 'admin')),
    -- Orgs that it may act for. Empty: the whole platform, for staff only.
    orgs text[] NOT NULL,
    -- Operations that a backend may make calls for. Empty: all.
    operations text[] NOT NULL DEFAULT '{}',
    key_hash bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- From then on it is refused. None: it does not end by itself.
    expire_time timestamptz,
    revoke_time timestamptz,
    -- The key whose place it takes; both work until that one expires.
    replaces text REFERENCES api_key (key_id),
    -- Newest first, whatever the clock did.
    position bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT api_key_orgs CHECK (
        cardinality(orgs) <= 64 AND (role <> 'backend' OR cardinality(orgs) > 0)
    ),
    CONSTRAINT api_key_operations CHECK (
        cardinality(operations) <= 64 AND (role = 'backend' OR cardinality(operations) = 0)
    )
);

CREATE UNIQUE INDEX api_key_position ON api_key (position);

-- When a key was last used, to the minute. Written by whoever remembers uses, in batches, so that no
-- call writes here.
CREATE TABLE api_key_use (
    key_id text PRIMARY KEY REFERENCES api_key (key_id),
    use_time timestamptz NOT NULL
) WITH (fillfactor = 50);

-- One row: grows with each change of a key, so that a look at one number tells every gateway
-- whether what it remembers of keys still holds.
CREATE TABLE key_book (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    version bigint NOT NULL
);

INSERT INTO key_book (version) VALUES (1);

-- One row: grows with each change of a route, so that a look at one number tells every gateway
-- whether to read the routes again.
CREATE TABLE route_book (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    version bigint NOT NULL
);

INSERT INTO route_book (version) VALUES (1);

-- Operation -> candidates in order of preference: the n-th provider with the n-th model.
CREATE TABLE route (
    operation text PRIMARY KEY,
    providers text[] NOT NULL,
    models text[] NOT NULL,
    default_max_output_token_count bigint NOT NULL CHECK (default_max_output_token_count > 0),
    fallback_text text NOT NULL,
    hold_seconds integer NOT NULL CHECK (hold_seconds BETWEEN 1 AND 86400),
    update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Shares of the users, one for each candidate. Empty: all begin with the first.
    weights integer[] NOT NULL DEFAULT '{}',
    fallback_template text NOT NULL DEFAULT '',
    tags text[] NOT NULL DEFAULT '{}',
    -- What savings are counted against. Both empty: nothing.
    baseline_provider text NOT NULL DEFAULT '',
    baseline_model text NOT NULL DEFAULT '',
    -- 0: estimates are strict.
    adaptive_percent integer NOT NULL DEFAULT 0,
    version bigint NOT NULL DEFAULT 1,
    updater text NOT NULL DEFAULT '',
    -- Each call needs a person's leave.
    approval_required boolean NOT NULL DEFAULT FALSE,
    -- Calls that may cost more do. 0: there is no such bound.
    approval_threshold_nanos bigint NOT NULL DEFAULT 0 CHECK (approval_threshold_nanos >= 0),
    -- Identical calls that are under way at once may share one answer.
    coalesces boolean NOT NULL DEFAULT FALSE,
    CONSTRAINT route_candidates CHECK (
        cardinality(providers) BETWEEN 1 AND 4 AND cardinality(providers) = cardinality(models)
    ),
    CONSTRAINT route_weights CHECK (cardinality(weights) IN (0, cardinality(providers))),
    CONSTRAINT route_adaptive_percent CHECK (
        adaptive_percent = 0 OR adaptive_percent BETWEEN 100 AND 1000
    )
);

-- Fallback texts with variables, by locale. Each change is a row of its own: the newest revision of
-- a template is the template, the others are its history. Changes bump route_book's version, so
-- that one look tells a gateway whether to read routes and templates again.
CREATE TABLE template_revision (
    template_id text NOT NULL,
    revision integer NOT NULL CHECK (revision > 0),
    default_locale text NOT NULL,
    -- Values are escaped for HTML.
    is_html boolean NOT NULL,
    -- {locale: text}; the default locale is among them.
    texts jsonb NOT NULL,
    -- Since this revision there is no such template.
    deleted boolean NOT NULL DEFAULT FALSE,
    actor text NOT NULL,
    reason text NOT NULL,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (template_id, revision)
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
    approval_required boolean NOT NULL DEFAULT FALSE,
    approval_threshold_nanos bigint NOT NULL DEFAULT 0,
    coalesces boolean NOT NULL DEFAULT FALSE,
    PRIMARY KEY (operation, version)
);

-- Gateways that decide by a copy of the routes, and of which version it is. Who changes a route waits
-- for those that were heard of lately.
CREATE TABLE route_reader (
    reader_id uuid PRIMARY KEY,
    version bigint NOT NULL,
    renew_time timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What is known of orgs. Calls of an org that is not here are admitted as any.
CREATE TABLE org (
    org text PRIMARY KEY,
    display_name text NOT NULL,
    -- IANA name. Empty: UTC.
    time_zone text NOT NULL,
    owner text NOT NULL,
    contacts text[] NOT NULL CHECK (cardinality(contacts) <= 8),
    cost_centre text NOT NULL,
    discount_basis_points integer NOT NULL CHECK (discount_basis_points BETWEEN 0 AND 10000),
    -- Its calls are denied. Gateways learn of it with the routes: route_book's version grows.
    suspended boolean NOT NULL DEFAULT FALSE,
    suspend_reason text NOT NULL DEFAULT '',
    version bigint NOT NULL DEFAULT 1,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    updater text NOT NULL
);
