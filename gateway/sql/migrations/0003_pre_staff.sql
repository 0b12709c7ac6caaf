-- People who operate Headgate. Every instant is the database's clock.
CREATE TABLE staff (
    staff_id text PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    password_hash text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    disable_time timestamptz,
    position bigint GENERATED ALWAYS AS IDENTITY
);

CREATE UNIQUE INDEX staff_position ON staff (position);

CREATE TABLE staff_grant (
    staff_id text NOT NULL REFERENCES staff (staff_id),
    org text NOT NULL,
    role text NOT NULL CHECK (role IN ('backend', 'viewer', 'editor', 'admin')),
    PRIMARY KEY (staff_id, org),
    CONSTRAINT staff_grant_backend CHECK (role <> 'backend' OR org <> '')
);

CREATE TABLE staff_invitation (
    invitation_id text PRIMARY KEY,
    token_hash bytea NOT NULL UNIQUE CHECK (octet_length(token_hash) = 32),
    email text NOT NULL,
    staff_id text REFERENCES staff (staff_id),
    orgs text[] NOT NULL,
    roles text[] NOT NULL,
    inviter text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    expire_time timestamptz NOT NULL,
    accept_time timestamptz,
    revoke_time timestamptz,
    position bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT staff_invitation_grants CHECK (cardinality(orgs) = cardinality(roles))
);

CREATE UNIQUE INDEX staff_invitation_position ON staff_invitation (position);

CREATE TABLE staff_session (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    staff_id text NOT NULL REFERENCES staff (staff_id),
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    use_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    expire_time timestamptz NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX staff_session_staff ON staff_session (staff_id);

CREATE TABLE login_failure (
    email_hash bytea PRIMARY KEY CHECK (octet_length(email_hash) = 32),
    failure_count integer NOT NULL,
    failure_time timestamptz NOT NULL,
    lock_time timestamptz NOT NULL
);

CREATE TABLE bootstrap_token (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    use_time timestamptz
);
