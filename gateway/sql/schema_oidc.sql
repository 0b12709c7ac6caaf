-- Logins by the OpenID provider that are under way; each is finished at most once. Rows past their
-- time are removed when the next one begins.
CREATE TABLE oidc_login (
    -- SHA-256 of the secret that who began it holds.
    login_hash bytea PRIMARY KEY CHECK (octet_length(login_hash) = 32),
    state_hash bytea NOT NULL CHECK (octet_length(state_hash) = 32),
    nonce text NOT NULL,
    -- Proves to the provider who asked for the code (PKCE).
    verifier text NOT NULL,
    redirect_uri text NOT NULL,
    expire_time timestamptz NOT NULL
);

CREATE INDEX oidc_login_expire ON oidc_login (expire_time);

-- Whom the provider knows as which account.
CREATE TABLE staff_identity (
    issuer text NOT NULL,
    subject text NOT NULL,
    staff_id text NOT NULL REFERENCES staff (staff_id),
    PRIMARY KEY (issuer, subject)
);
