-- Features that are on or off, and the guardrails that nobody changes.
CREATE TABLE toggle (
    toggle_id text PRIMARY KEY,
    description text NOT NULL,
    enabled boolean NOT NULL,
    locked boolean NOT NULL DEFAULT FALSE,
    shipped boolean NOT NULL DEFAULT FALSE,
    deleted boolean NOT NULL DEFAULT FALSE,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    version bigint NOT NULL DEFAULT 0
);

CREATE TABLE toggle_rule (
    toggle_id text NOT NULL REFERENCES toggle (toggle_id),
    org text NOT NULL,
    operation text NOT NULL,
    enabled boolean NOT NULL,
    PRIMARY KEY (toggle_id, org, operation),
    CONSTRAINT toggle_rule_somewhere CHECK (org <> '' OR operation <> '')
);

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
