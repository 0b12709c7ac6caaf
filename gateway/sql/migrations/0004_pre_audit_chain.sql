-- Each audit entry and each outcome becomes a link of one chain of hashes, made by the database itself.
ALTER TABLE audit_entry ADD COLUMN reason text NOT NULL DEFAULT '';

CREATE TABLE audit_link (
    position bigint PRIMARY KEY CHECK (position > 0),
    kind text NOT NULL CHECK (kind IN ('intent', 'outcome')),
    audit_id uuid NOT NULL REFERENCES audit_entry (audit_id),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_link_kind UNIQUE (audit_id, kind)
);

CREATE FUNCTION frame_audit_text_v1(value text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT
AS $$
SELECT int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8');
$$;

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

-- What is there already comes first, in the order in which it happened.
DO $$
DECLARE
    one record;
    head audit_link%ROWTYPE;
    content bytea;
BEGIN
    FOR one IN
        SELECT 'intent' AS kind, audit_id, create_time, 0 AS rank FROM audit_entry
        UNION ALL
        SELECT 'outcome', audit_id, create_time, 1 FROM audit_outcome
        ORDER BY create_time, rank
    LOOP
        SELECT * INTO head FROM audit_link ORDER BY position DESC LIMIT 1;
        IF one.kind = 'intent' THEN
            SELECT
                frame_audit_text_v1(actor) || frame_audit_text_v1(action)
                || frame_audit_text_v1(target) || frame_audit_text_v1(reason)
                || frame_audit_text_v1(request_json)
            INTO content FROM audit_entry WHERE audit_id = one.audit_id;
        ELSE
            SELECT
                frame_audit_text_v1(CASE WHEN done THEN 'done' ELSE 'failed' END)
                || frame_audit_text_v1(error)
            INTO content FROM audit_outcome WHERE audit_id = one.audit_id;
        END IF;
        INSERT INTO audit_link (position, kind, audit_id, hash)
        VALUES (
            coalesce(head.position, 0) + 1,
            one.kind,
            one.audit_id,
            sha256(
                coalesce(head.hash, ''::bytea)
                || int8send(coalesce(head.position, 0) + 1)
                || frame_audit_text_v1(one.kind)
                || frame_audit_text_v1(one.audit_id::text)
                || int8send((extract(EPOCH FROM one.create_time) * 1000000)::bigint)
                || content
            )
        );
    END LOOP;
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
