-- How the log is corrected, and how old days of it leave.

-- Corrects booked calls: appends to each the revision after the one that is known, or nothing if
-- there is a newer one already. Returns how many were corrected. The arrays are parallel.
CREATE FUNCTION correct_usage(
    p_org text[],
    p_call_id uuid[],
    p_admit_time timestamptz[],
    p_revision integer[],
    p_total_nanos bigint[],
    p_cost_basis smallint[],
    p_price_version bigint[],
    p_note text,
    p_audit_id text,
    p_value_count_max integer
)
RETURNS integer
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
AS $$
DECLARE
    v_call_ids uuid[];
    v_admit_times timestamptz[];
    v_orgs text[];
    v_revisions smallint[];
    v_written usage_log[];
BEGIN
    WITH written AS (
        INSERT INTO usage_entry AS l (
            org, call_id, parent_call_id, admit_time, revision, kind_id, caller_id, labels,
            outcome, cost_basis, price_version, held_nanos, total_nanos, error_type,
            payload_digest, user_name, session, priority,
            held_token_count, service_tier, delta_nanos, unreported_delta_nanos,
            unreported_delta_count, corrected_token_count, note, audit_id, baseline_nanos
        )
        SELECT
            k.org, k.call_id, k.parent_call_id, k.admit_time, m.revision + 1, k.kind_id,
            k.caller_id, k.labels, k.outcome, m.cost_basis, m.price_version,
            k.held_nanos, m.total_nanos, k.error_type, k.payload_digest, k.user_name,
            k.session, k.priority, k.held_token_count, k.service_tier,
            m.total_nanos - k.total_nanos,
            CASE WHEN m.cost_basis = 2 THEN m.total_nanos ELSE 0 END
            - CASE WHEN k.cost_basis = 2 THEN k.total_nanos ELSE 0 END,
            (m.cost_basis = 2)::integer - (k.cost_basis = 2)::integer,
            token_total(k),
            p_note,
            p_audit_id,
            -- Marks that what it changes is saved, or not.
            k.baseline_nanos * 0
        FROM unnest(
            p_org, p_call_id, p_admit_time, p_revision, p_total_nanos, p_cost_basis,
            p_price_version
        ) AS m (org, call_id, admit_time, revision, total_nanos, cost_basis, price_version)
        CROSS JOIN LATERAL (
            SELECT * FROM usage_entry AS known
            WHERE
                known.org = m.org AND known.call_id = m.call_id
                AND known.admit_time = m.admit_time AND known.revision = m.revision
        ) AS k
        ORDER BY m.call_id, m.admit_time, m.org COLLATE "C"
        ON CONFLICT (call_id, admit_time, org, revision) DO NOTHING
        RETURNING l.call_id, l.admit_time, l.org, l.revision
    )
    SELECT array_agg(w.call_id), array_agg(w.admit_time), array_agg(w.org), array_agg(w.revision)
    INTO v_call_ids, v_admit_times, v_orgs, v_revisions
    FROM written AS w;
    SELECT array_agg(l) INTO v_written
    FROM unnest(v_call_ids, v_admit_times, v_orgs, v_revisions)
        AS w (call_id, admit_time, org, revision)
    INNER JOIN usage_log AS l
        ON
            l.call_id = w.call_id AND l.admit_time = w.admit_time AND l.org = w.org
            AND l.revision = w.revision;
    IF v_written IS NOT NULL THEN
        PERFORM add_to_rollups(v_written, p_value_count_max);
    END IF;
    RETURN coalesce(cardinality(v_written), 0);
END;
$$;

-- Drops a day's log that was sealed with these sums, and says whether it was there. Nobody can
-- write to it meanwhile. Only days beyond the horizon: no report can come for them any more.
CREATE FUNCTION drop_sealed_day(p_day date, p_horizon interval)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = accounting, pg_temp
AS $$
DECLARE
    v_name text := 'usage_log_' || to_char(p_day, 'YYYYMMDD');
    v_agrees boolean;
BEGIN
    IF p_day >= (clock_timestamp() - p_horizon - interval '1 day')::date THEN
        RAISE EXCEPTION 'day % still gets reports', p_day;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('accounting.usage_log partitions', 0));
    IF to_regclass('accounting.' || v_name) IS NULL THEN
        RETURN FALSE;
    END IF;
    EXECUTE format('LOCK TABLE accounting.%I IN ACCESS EXCLUSIVE MODE', v_name);
    EXECUTE format(
        'SELECT s.row_count = count(*) AND s.cost_nanos = coalesce(sum('
        || 'coalesce(l.delta_nanos, l.total_nanos)), 0) FROM sealed_day AS s '
        || 'LEFT JOIN accounting.%I AS l ON TRUE WHERE s.day = $1 GROUP BY s.day', v_name
    ) INTO v_agrees USING p_day;
    IF v_agrees IS NOT TRUE THEN
        RAISE EXCEPTION 'day % is not sealed with what its log has', p_day;
    END IF;
    EXECUTE format('DROP TABLE accounting.%I', v_name);
    RETURN TRUE;
END;
$$;
