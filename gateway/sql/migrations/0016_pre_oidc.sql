-- Logins by an OpenID provider: those under way, and whom the provider knows as which account.
CREATE TABLE oidc_login (
    login_hash bytea PRIMARY KEY CHECK (octet_length(login_hash) = 32),
    state_hash bytea NOT NULL CHECK (octet_length(state_hash) = 32),
    nonce text NOT NULL,
    verifier text NOT NULL,
    redirect_uri text NOT NULL,
    expire_time timestamptz NOT NULL
);

CREATE INDEX oidc_login_expire ON oidc_login (expire_time);

CREATE TABLE staff_identity (
    issuer text NOT NULL,
    subject text NOT NULL,
    staff_id text NOT NULL REFERENCES staff (staff_id),
    PRIMARY KEY (issuer, subject)
);
