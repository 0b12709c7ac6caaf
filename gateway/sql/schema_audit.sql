-- Who wanted to change what. Written before the change, or with it where the change is ours.
CREATE TABLE audit_entry (
    audit_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    position bigint GENERATED ALWAYS AS IDENTITY,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Public part of the key that asked, or the job that did it.
    actor text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    request_json text NOT NULL,
    -- Why, in the words of whoever asked. Empty: they did not say.
    reason text NOT NULL DEFAULT ''
);

CREATE UNIQUE INDEX audit_entry_position ON audit_entry (position);

-- What became of an entry. None: it is not known, because the answer was lost.
CREATE TABLE audit_outcome (
    audit_id uuid PRIMARY KEY REFERENCES audit_entry (audit_id),
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    done boolean NOT NULL,
    -- Why it failed. Empty if it is done.
    error text NOT NULL
);

-- The audit log is appended to and never changed, by nobody.
CREATE FUNCTION refuse_audit_change_v1() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END;
$$;

CREATE TRIGGER audit_entry_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change_v1();

CREATE TRIGGER audit_outcome_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_outcome
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change_v1();

-- One chain over entries and outcomes, in the order in which they were written. Each hash covers its
-- row and the hash before it, so whoever keeps one hash notices any change of what came before.
CREATE TABLE audit_link (
    -- 1, 2, 3, and so on, without a gap.
    position bigint PRIMARY KEY CHECK (position > 0),
    kind text NOT NULL CHECK (kind IN ('intent', 'outcome')),
    audit_id uuid NOT NULL REFERENCES audit_entry (audit_id),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_link_kind UNIQUE (audit_id, kind)
);

-- A text with its length before it, so that no two lists of texts look the same.
CREATE FUNCTION frame_audit_text_v1(value text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
AS $$
SELECT int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8');
$$;

-- Writers queue here until they commit: the chain is in the order of their commits.
CREATE FUNCTION append_audit_link_v1() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
AS $$
DECLARE
    head audit_link%ROWTYPE;
    new_kind text;
    content bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(7400, 2);
    SELECT * INTO head FROM audit_link ORDER BY position DESC LIMIT 1;
    IF TG_TABLE_NAME = 'audit_entry' THEN
        new_kind := 'intent';
        content := frame_audit_text_v1(NEW.actor) || frame_audit_text_v1(NEW.action)
            || frame_audit_text_v1(NEW.target) || frame_audit_text_v1(NEW.reason)
            || frame_audit_text_v1(NEW.request_json);
    ELSE
        new_kind := 'outcome';
        content := frame_audit_text_v1(CASE WHEN NEW.done THEN 'done' ELSE 'failed' END)
            || frame_audit_text_v1(NEW.error);
    END IF;
    INSERT INTO audit_link (position, kind, audit_id, hash)
    VALUES (
        coalesce(head.position, 0) + 1,
        new_kind,
        NEW.audit_id,
        sha256(
            coalesce(head.hash, ''::bytea)
            || int8send(coalesce(head.position, 0) + 1)
            || frame_audit_text_v1(new_kind)
            || frame_audit_text_v1(NEW.audit_id::text)
            || int8send((extract(EPOCH FROM NEW.create_time) * 1000000)::bigint)
            || content
        )
    );
    RETURN NULL;
END;
$$;

CREATE TRIGGER audit_entry_link
AFTER INSERT ON audit_entry
FOR EACH ROW EXECUTE FUNCTION append_audit_link_v1();

CREATE TRIGGER audit_outcome_link
AFTER INSERT ON audit_outcome
FOR EACH ROW EXECUTE FUNCTION append_audit_link_v1();

CREATE TRIGGER audit_link_append_only
BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_link
FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change_v1();

-- Who serves appends entries and outcomes; the chain grows by the trigger alone.
DO $$
DECLARE
    server name;
BEGIN
    FOR server IN
        SELECT DISTINCT grantee
        FROM information_schema.role_table_grants
        WHERE table_schema = current_schema()
            AND table_name = 'audit_link'
            AND grantee <> current_user
    LOOP
        EXECUTE format('REVOKE UPDATE, DELETE ON audit_entry, audit_outcome FROM %I', server);
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON audit_link FROM %I', server);
    END LOOP;
END;
$$;
