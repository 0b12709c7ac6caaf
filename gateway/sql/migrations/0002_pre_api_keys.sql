-- Keys that end by themselves, are limited to operations, take the place of others, and are seen.
ALTER TABLE api_key
ADD COLUMN operations text[] NOT NULL DEFAULT '{}',
ADD COLUMN expire_time timestamptz,
ADD COLUMN replaces text REFERENCES api_key (key_id),
DROP CONSTRAINT api_key_role_check,
ADD CONSTRAINT api_key_role_check CHECK (role IN ('backend', 'viewer', 'editor', 'admin')),
DROP CONSTRAINT api_key_orgs,
ADD CONSTRAINT api_key_orgs CHECK (
    cardinality(orgs) <= 64 AND (role <> 'backend' OR cardinality(orgs) > 0)
),
ADD CONSTRAINT api_key_operations CHECK (
    cardinality(operations) <= 64 AND (role = 'backend' OR cardinality(operations) = 0)
);

CREATE TABLE api_key_use (
    key_id text PRIMARY KEY REFERENCES api_key (key_id),
    use_time timestamptz NOT NULL
) WITH (fillfactor = 50);
