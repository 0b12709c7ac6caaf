-- The whole schema of health. sql/migrations builds exactly this; a test compares the two.
-- Every instant is the database's clock.
-- Lock order everywhere: circuits by provider, or the toggles' advisory lock (7403, 2); then
-- health_version; then a kill switch, which is written only if it is still what was read.

-- One row: grows with each change that watchers must learn of. It is bumped last in a change's
-- transaction and its row lock orders the commits, so whoever reads version n reads all of 1..n.
CREATE TABLE health_version (
    singleton boolean PRIMARY KEY DEFAULT TRUE CHECK (singleton),
    version bigint NOT NULL
);

INSERT INTO health_version (version) VALUES (0);

-- The authority on each provider, and on those of its models and credentials that failed. What has
-- no row is closed, of epoch 0. Whoever changes any of a provider's rows holds the lock of the
-- provider's own. No secondary index, and room in each page: updates stay HOT.
CREATE TABLE circuit (
    provider text NOT NULL,
    -- One of the provider's models, or one credential with it; both empty: the provider itself.
    model text NOT NULL DEFAULT '',
    credential text NOT NULL DEFAULT '',
    -- closed: calls pass. open: refused until open_until. half-open: few pass, as probes.
    state text NOT NULL DEFAULT 'closed'
    CONSTRAINT circuit_state_known CHECK (state IN ('closed', 'open', 'half-open')),
    -- Grows with each change of state; outcomes of calls admitted before it change nothing.
    epoch bigint NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    -- On a provider's own row: the newest epoch of all its rows, which share one count.
    last_epoch bigint NOT NULL DEFAULT 0 CHECK (last_epoch >= 0),
    -- Failures in a row, fleet-wide, in commit order; and whose they were, two orgs at most.
    failure_count integer NOT NULL DEFAULT 0 CHECK (failure_count >= 0),
    failure_orgs text[] NOT NULL DEFAULT '{}',
    -- Successful probes since it became half-open.
    probe_success_count integer NOT NULL DEFAULT 0 CHECK (probe_success_count >= 0),
    -- How often it opened without having been closed for long between.
    open_count integer NOT NULL DEFAULT 0 CHECK (open_count >= 0),
    -- When probes may begin.
    open_until timestamptz,
    -- Until when the provider asked to be left alone. Only credentials cool.
    cool_until timestamptz,
    -- Since when the provider refuses the credential; NULL: it does not.
    refuse_time timestamptz,
    -- What a person decided instead of the state machine; empty: nothing.
    forced text NOT NULL DEFAULT ''
    CONSTRAINT circuit_forced_known CHECK (forced IN ('', 'open', 'closed')),
    -- When the state last changed; NULL until it does.
    change_time timestamptz,
    -- When a call last succeeded and failed; written about once a second at most.
    success_time timestamptz,
    failure_time timestamptz,
    -- health_version in which watchers learnt of it; 0 until they have.
    version bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (provider, model, credential),
    CONSTRAINT circuit_of_one_thing CHECK (model = '' OR credential = ''),
    CONSTRAINT circuit_open_until CHECK (
        (state = 'open' AND forced = '') = (open_until IS NOT NULL)
    ),
    CONSTRAINT circuit_forced_state CHECK (forced = '' OR forced = state)
) WITH (fillfactor = 50);

-- Who may probe: leases, at most a configured count unexpired per circuit. Inserted only under the
-- provider's row lock. An expired one counts for nothing, whether it is still here or not.
CREATE TABLE circuit_permit (
    provider text NOT NULL,
    model text NOT NULL,
    credential text NOT NULL,
    org text NOT NULL,
    call_id uuid NOT NULL,
    -- The half-open epoch that granted it.
    epoch bigint NOT NULL,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (provider, org, call_id, model, credential)
);

-- The last minute of a circuit's calls, in slots of ten seconds, and what it says to people.
-- A provider's is written every few seconds, a part's only while some of its calls fail.
CREATE TABLE circuit_window (
    provider text NOT NULL,
    model text NOT NULL,
    credential text NOT NULL,
    -- {slot: {"orgs": {org: [calls, failed, slow]}, "ms": {bucket: calls}}}
    slots jsonb NOT NULL,
    call_count bigint NOT NULL,
    error_rate_percent integer NOT NULL,
    latency_p50_ms bigint,
    latency_p95_ms bigint,
    -- health_version in which watchers learnt of the figures.
    version bigint NOT NULL DEFAULT 0,
    update_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (provider, model, credential)
) WITH (fillfactor = 50);

-- Every change of state, kept for a while: what opened it, and who forced it. And each time that
-- a provider began to refuse a credential.
CREATE TABLE circuit_move (
    move_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    model text NOT NULL,
    credential text NOT NULL,
    epoch bigint NOT NULL,
    before_state text NOT NULL,
    after_state text NOT NULL,
    forced text NOT NULL,
    cause text NOT NULL,
    failure_count integer NOT NULL,
    open_until timestamptz,
    -- Who forced it, and why; empty: nobody did.
    actor text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    move_time timestamptz NOT NULL,
    -- For readers that must not miss a row that commits late.
    xact_id xid8 NOT NULL DEFAULT pg_current_xact_id()
);

CREATE INDEX circuit_move_provider ON circuit_move (provider, move_id);

-- Stops of calls. The row says what is wanted; admission's fence of the same id does it.
CREATE TABLE kill_switch (
    kill_id text PRIMARY KEY,
    -- intended: wanted, not acknowledged by admission. in-force: acknowledged.
    -- resuming: lifting is wanted, not acknowledged. resumed: lifted.
    state text NOT NULL
    CONSTRAINT kill_switch_state_known CHECK (
        state IN ('intended', 'in-force', 'resuming', 'resumed')
    ),
    reason text NOT NULL,
    message text NOT NULL,
    actor text NOT NULL,
    -- Grows with each kill and resume. The highest wins, here and in admission's fence.
    sequence bigint NOT NULL CHECK (sequence > 0),
    change_time timestamptz NOT NULL,
    version bigint NOT NULL,
    -- Values by dimension of the calls that it stops; empty: all calls.
    scope jsonb NOT NULL DEFAULT '{}',
    -- When it lifts itself; NULL: never.
    expire_time timestamptz,
    -- Who set it, and when; actor and change_time are those of the last change.
    set_by text NOT NULL DEFAULT '',
    set_time timestamptz
);

-- Every order to kill, to resume or to force a breaker, in the order's own transaction.
CREATE TABLE change_log (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The gateway's audit entry.
    audit_id text NOT NULL,
    -- What was changed, such as 'kill_switch/platform'.
    target text NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    -- What it replaced; NULL, like after, of a breaker: its moves have a table of their own.
    before jsonb,
    after jsonb,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Features that are on or off. A locked one is a guardrail: triggers refuse to change it, so that it
-- takes a migration.
CREATE TABLE toggle (
    toggle_id text PRIMARY KEY,
    description text NOT NULL,
    -- Whether it is on where no rule says otherwise.
    enabled boolean NOT NULL,
    locked boolean NOT NULL DEFAULT FALSE,
    -- It came with the schema and is not deleted.
    shipped boolean NOT NULL DEFAULT FALSE,
    -- Kept, so that watchers learn of it.
    deleted boolean NOT NULL DEFAULT FALSE,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- health_version in which watchers learnt of it or of its rules.
    version bigint NOT NULL DEFAULT 0
);

-- Where a toggle is different: for an org, an operation, or an org's operation.
CREATE TABLE toggle_rule (
    toggle_id text NOT NULL REFERENCES toggle (toggle_id),
    org text NOT NULL,
    operation text NOT NULL,
    enabled boolean NOT NULL,
    PRIMARY KEY (toggle_id, org, operation),
    CONSTRAINT toggle_rule_somewhere CHECK (org <> '' OR operation <> '')
);

-- Every change of a toggle, in its own transaction.
CREATE TABLE toggle_change (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    toggle_id text NOT NULL,
    org text NOT NULL,
    operation text NOT NULL,
    before boolean,
    after boolean,
    actor text NOT NULL,
    reason text NOT NULL,
    audit_id text NOT NULL,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp()
);

INSERT INTO toggle (toggle_id, description, enabled, locked, shipped)
VALUES
('ai-generation', 'Calls to AI models are admitted.', TRUE, FALSE, TRUE),
('auto-approval', 'Approvals may be given by rules; off: by people only.', TRUE, FALSE, TRUE),
('notifications', 'Notifications leave; off: they wait, and none is lost.', TRUE, FALSE, TRUE),
('fail-closed', 'Without admission no call is admitted.', TRUE, TRUE, TRUE),
('audit-trail', 'No change is made that was not written down before.', TRUE, TRUE, TRUE);

CREATE FUNCTION refuse_locked_toggle_v1() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'toggles are not truncated' USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF (TG_OP <> 'INSERT' AND OLD.locked) OR (TG_OP <> 'DELETE' AND NEW.locked) THEN
        RAISE EXCEPTION 'a guardrail is changed by a migration only'
        USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END;
$$;

CREATE FUNCTION refuse_rule_of_locked_toggle_v1() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM toggle WHERE toggle_id = NEW.toggle_id AND locked) THEN
        RAISE EXCEPTION 'a guardrail has no rules' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END;
$$;

CREATE TRIGGER toggle_locked
BEFORE INSERT OR UPDATE OR DELETE ON toggle
FOR EACH ROW EXECUTE FUNCTION refuse_locked_toggle_v1();

CREATE TRIGGER toggle_not_truncated
BEFORE TRUNCATE ON toggle
FOR EACH STATEMENT EXECUTE FUNCTION refuse_locked_toggle_v1();

CREATE TRIGGER toggle_rule_locked
BEFORE INSERT OR UPDATE ON toggle_rule
FOR EACH ROW EXECUTE FUNCTION refuse_rule_of_locked_toggle_v1();
