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
