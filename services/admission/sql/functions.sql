-- What admission's database does by itself, so that each batch takes few round trips.

-- One call as a batch reads it, open or ended.
CREATE TYPE locked_call AS (
    org text,
    call_id uuid,
    fingerprint bytea,
    operation text,
    provider text,
    model text,
    held_nanos bigint,
    held_tokens bigint,
    worst_nanos bigint,
    worst_tokens bigint,
    set_id uuid,
    admit_time timestamptz,
    expire_time timestamptz,
    price_version bigint,
    breaker_epoch bigint,
    state smallint,
    settled_nanos bigint,
    settled_tokens bigint,
    revision integer,
    hold_returned boolean,
    id_day date
);

-- One counter as a batch reads it, locked.
CREATE TYPE locked_counter AS (
    counter_id uuid,
    rank smallint,
    metric smallint,
    window_kind smallint,
    period smallint,
    time_zone text,
    anchor smallint,
    length_us bigint,
    slot_count smallint,
    refill_amount bigint,
    start_time timestamptz,
    end_time timestamptz,
    held bigint,
    settled bigint,
    overrun bigint,
    high_cap bigint,
    limit_id text,
    alerted_percent smallint,
    statistical boolean,
    last_use_time timestamptz,
    expire_time_max timestamptz,
    arrival numeric,
    slot_indices bigint [],
    slot_held bigint [],
    slot_settled bigint []
);

-- Creates the partition of one day, if it is missing. Created apart and then attached: creating
-- it in place would block every insert until commit. Runs as the owner, whatever the caller's role.
CREATE FUNCTION ensure_ended_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = admission, pg_temp AS $$
DECLARE
    partition text := 'ended_reservation_' || to_char(day, 'YYYYMMDD');
BEGIN
    -- Two replicas may want the same day: the second waits here and then finds it.
    PERFORM pg_advisory_xact_lock(7401, 2);
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE ended_reservation INCLUDING ALL)', partition);
    EXECUTE format(
        'ALTER TABLE ended_reservation ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        partition, day, day + 1
    );
END
$$;

-- Takes the locks of one batch and returns what it decides on, in one row. Call it in a transaction
-- that already holds the shared policy lock, taken by a statement of its own: each statement in
-- here sees what was committed before that statement began. No row at all: the version has moved.
-- Lock order, the same for every writer: policy, ids by hash, counters by (rank, counter_id).
CREATE FUNCTION lock_batch_3(
    known_version bigint,
    id_hashes bigint [], -- of the batch's calls
    orgs text [],
    call_ids uuid [],
    -- The partitions named by the ids lie between these days: the others are not even opened.
    first_day date,
    last_day date,
    wanted uuid [] -- counters of the calls that want to start
) RETURNS TABLE (
    calls locked_call [],
    sets counter_set [],
    counters locked_counter [],
    instant timestamptz -- the clock after all locks
)
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    locked_ids uuid [];
BEGIN
    IF NOT EXISTS (SELECT FROM policy_version AS p WHERE p.version = known_version) THEN
        RETURN;
    END IF;
    -- Ids in hash order: batches that share ids wait for each other, and never in a circle.
    PERFORM pg_advisory_xact_lock(h.id_hash)
    FROM (SELECT DISTINCT unnest(id_hashes) AS id_hash ORDER BY 1) AS h;
    SELECT array_agg(f.call) INTO calls
    FROM (
        SELECT
            ROW(
                r.org, r.call_id, r.fingerprint, r.operation, r.provider, r.model, r.held_nanos,
                r.held_tokens, r.worst_nanos, r.worst_tokens, r.set_id, r.admit_time,
                r.expire_time, r.price_version, r.breaker_epoch, 1, 0, 0, 0, FALSE, NULL
            )::locked_call AS call
        FROM unnest(orgs, call_ids) AS k (org, call_id)
        INNER JOIN reservation AS r ON r.org = k.org AND r.call_id = k.call_id
        UNION ALL
        SELECT
            ROW(
                e.org, e.call_id, e.fingerprint, e.operation, e.provider, e.model, e.held_nanos,
                e.held_tokens, 0, 0, e.set_id, e.admit_time, e.expire_time, e.price_version,
                e.breaker_epoch, e.state, e.settled_nanos, e.settled_tokens, e.revision,
                e.hold_returned, e.id_day
            )::locked_call AS call
        FROM unnest(orgs, call_ids) AS k (org, call_id)
        INNER JOIN ended_reservation AS e ON e.org = k.org AND e.call_id = k.call_id
        WHERE e.id_day BETWEEN first_day AND last_day OR e.id_day = '1970-01-01'
    ) AS f;
    locked_ids := wanted;
    IF calls IS NOT NULL THEN
        SELECT array_agg(s) INTO sets
        FROM counter_set AS s
        WHERE s.set_id IN (SELECT (c).set_id FROM unnest(calls) AS c);
        SELECT array_agg(DISTINCT u.counter_id) INTO locked_ids
        FROM (
            SELECT unnest(wanted) AS counter_id
            UNION ALL
            SELECT unnest((s).counter_ids) FROM unnest(sets) AS s
        ) AS u;
    END IF;
    -- Counters in (rank, counter_id) order, the platform's last: it is held the shortest.
    SELECT
        array_agg(
            ROW(
                c.counter_id, c.rank, c.metric, c.window_kind, c.period, c.time_zone, c.anchor,
                c.length_us, c.slot_count, c.refill_amount, c.start_time, c.end_time, c.held,
                c.settled, c.overrun, c.high_cap, c.limit_id, c.alerted_percent, c.statistical,
                c.last_use_time, c.expire_time_max, c.arrival, c.slot_indices, c.slot_held,
                c.slot_settled
            )::locked_counter
        ) INTO counters
    FROM (
        SELECT *
        FROM counter
        WHERE counter_id = ANY(locked_ids)
        ORDER BY rank, counter_id
        FOR UPDATE
    ) AS c;
    -- Read once, after the locks: what was decided earlier was decided at an earlier time.
    instant := clock_timestamp();
    RETURN NEXT;
END
$$;

-- Forgets ended calls of one partition's day that ended before an instant, and keeps what they settled
-- with the counters that go on. Returns how many there were; call it until there are none.
CREATE FUNCTION forget_ended(p_day date, p_before timestamptz, p_count integer) RETURNS integer
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    forgotten integer;
BEGIN
    WITH doomed AS (
        SELECT e.org, e.call_id
        FROM ended_reservation AS e
        WHERE e.id_day = p_day AND e.end_time < p_before
        ORDER BY e.org, e.call_id
        LIMIT p_count
        FOR UPDATE SKIP LOCKED
    ),
    gone AS (
        DELETE FROM ended_reservation AS e
        USING doomed AS d
        WHERE e.id_day = p_day AND e.org = d.org AND e.call_id = d.call_id
        RETURNING e.set_id, e.state, e.settled_nanos, e.settled_tokens
    ),
    sums AS (
        SELECT
            u.counter_id,
            count(*) FILTER (WHERE g.state NOT IN (3, 6)) AS calls,
            sum(g.settled_nanos) AS nanos,
            sum(g.settled_tokens) AS tokens
        FROM gone AS g
        INNER JOIN counter_set AS s ON g.set_id = s.set_id
        CROSS JOIN LATERAL unnest(s.counter_ids) AS u (counter_id)
        GROUP BY u.counter_id
    ),
    locked AS (
        -- In every writer's order.
        SELECT c.counter_id, c.metric
        FROM counter AS c
        INNER JOIN sums AS s ON c.counter_id = s.counter_id
        ORDER BY c.rank, c.counter_id
        FOR UPDATE OF c
    ),
    kept AS (
        UPDATE counter AS c
        SET archived = c.archived + CASE l.metric
            WHEN 1 THEN s.calls WHEN 2 THEN s.nanos WHEN 3 THEN s.tokens ELSE 0
        END
        FROM locked AS l
        INNER JOIN sums AS s ON l.counter_id = s.counter_id
        WHERE c.counter_id = l.counter_id
    )
    SELECT count(*) INTO forgotten FROM gone;
    RETURN forgotten;
END
$$;

-- Drops the partition of one day if nothing is left in it. Runs as the owner.
CREATE FUNCTION drop_ended_partition(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = admission, pg_temp AS $$
DECLARE
    partition text := 'ended_reservation_' || to_char(day, 'YYYYMMDD');
    is_used boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(7401, 2);
    IF to_regclass(partition) IS NULL THEN
        RETURN FALSE;
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', partition) INTO is_used;
    IF is_used THEN
        RETURN FALSE;
    END IF;
    EXECUTE format('DROP TABLE %I', partition);
    RETURN TRUE;
END
$$;

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
