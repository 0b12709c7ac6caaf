-- A fence is set in one round trip: a kill waits for it, and all batches wait while it is set.

-- Makes the next version of the policy, with so many limits more; returns it. Counts the limits by what
-- changed, not anew: rows that went some other way are found missing.
CREATE FUNCTION bump_policy_version_1(added integer) RETURNS bigint
LANGUAGE sql VOLATILE AS $$
UPDATE policy_version
SET
    version = version + 1,
    limit_count = CASE
        WHEN counted_version = version THEN limit_count + added
        ELSE (SELECT count(*) FROM limit_rule)
    END,
    counted_version = version + 1
RETURNING version;
$$;

-- Sets or lifts a fence as a transaction by itself, and returns it as it then is: an older sequence
-- changes nothing. Waits for the batches in flight, each statement in here sees what they committed,
-- and new batches wait no longer than this takes. Gives up after `patience_ms`.
CREATE FUNCTION put_fence_1(
    new_fence_id text,
    new_sequence bigint,
    new_active boolean,
    new_message text,
    new_actor text,
    new_scope jsonb,
    new_expire_time timestamptz,
    note jsonb,
    patience_ms integer
) RETURNS fence
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    in_force fence;
BEGIN
    PERFORM set_config('lock_timeout', patience_ms::text, TRUE);
    PERFORM pg_advisory_xact_lock(7401, 1);
    INSERT INTO fence AS f (fence_id, sequence, active, message, actor, scope, expire_time)
    VALUES (
        new_fence_id, new_sequence, new_active, new_message, new_actor, new_scope, new_expire_time
    )
    ON CONFLICT (fence_id) DO UPDATE SET
        sequence = excluded.sequence, active = excluded.active, message = excluded.message,
        actor = excluded.actor, scope = excluded.scope, expire_time = excluded.expire_time,
        change_time = clock_timestamp()
    WHERE f.sequence < excluded.sequence;
    IF FOUND THEN
        INSERT INTO change_log (audit_id, target, after)
        VALUES ('', 'fence/' || new_fence_id, note);
        PERFORM bump_policy_version_1(0);
    END IF;
    SELECT * INTO in_force FROM fence AS f WHERE f.fence_id = new_fence_id;
    RETURN in_force;
END
$$;
