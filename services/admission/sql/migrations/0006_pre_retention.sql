-- What is past the settlement horizon is forgotten, and what it settled is kept.

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
