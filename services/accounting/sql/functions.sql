-- How calls are booked, in one round trip for each batch.

-- Makes the day's partition of the usage log unless it is there, and says whether it is there now:
-- false if the day lies outside of the allowed distance from today. Inserts go on meanwhile: a
-- plain table is made and attached (CREATE ... PARTITION OF would block them).
CREATE FUNCTION ensure_partition(p_day date, p_days_back integer, p_days_ahead integer)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = accounting, pg_temp
AS $$
DECLARE
    v_today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    v_name text := 'usage_log_' || to_char(p_day, 'YYYYMMDD');
BEGIN
    IF p_day < v_today - p_days_back OR p_day > v_today + p_days_ahead THEN
        RETURN FALSE;
    END IF;
    -- Two who need the same day: the second waits here and then finds it. Nothing else is locked
    -- before, so the order is this lock, then the tables.
    PERFORM pg_advisory_xact_lock(hashtextextended('accounting.usage_log partitions', 0));
    IF EXISTS (
        SELECT 1
        FROM pg_inherits AS i
        INNER JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'usage_log'::regclass AND c.relname = v_name
    ) THEN
        RETURN TRUE;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE usage_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
        v_name
    );
    EXECUTE format(
        'ALTER TABLE usage_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        v_name,
        p_day::timestamp AT TIME ZONE 'UTC',
        (p_day + 1)::timestamp AT TIME ZONE 'UTC'
    );
    RETURN TRUE;
END;
$$;

-- Books a batch of attempts: log and rollups, or nothing at all.
-- Returns a row for each member that it did not write itself, by its place in the batch from 1:
-- status 2 an earlier one had written it (with what stands there), 3 it stands there with
-- another payload, 4 admitted before the horizon, 5 admitted in the future.
-- The arrays are parallel. Partitions for all days within the horizon must exist. `p_units` has the
-- rarer meters, and what else few calls have, by their names.
CREATE FUNCTION book_usage(
    p_org text[],
    p_call_id uuid[],
    p_parent_call_id uuid[],
    p_admit_time timestamptz[],
    p_operation text[],
    p_provider text[],
    p_model text[],
    p_api_key_id text[],
    p_labels jsonb[],
    p_outcome smallint[],
    p_cost_basis smallint[],
    p_price_version bigint[],
    p_held_nanos bigint[],
    p_total_nanos bigint[],
    p_input bigint[],
    p_cache_read bigint[],
    p_cache_write_5m bigint[],
    p_cache_write_1h bigint[],
    p_output bigint[],
    p_reasoning bigint[],
    p_latency_ms integer[],
    p_error_type text[],
    p_payload_digest bytea[],
    p_team text[],
    p_user_name text[],
    p_session text[],
    p_feature text[],
    p_priority smallint[],
    p_held_token_count bigint[],
    p_service_tier text[],
    p_baseline_nanos bigint[],
    p_units jsonb[],
    p_value_count_max integer,
    p_horizon interval,
    p_clock_skew interval
)
RETURNS TABLE (
    place integer, status integer, total_nanos bigint, cost_basis integer, revision integer,
    token_count bigint
)
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_oldest timestamptz := v_now - p_horizon;
    v_newest timestamptz := v_now + p_clock_skew;
    v_written usage_log[];
BEGIN
    -- Locks, in the one order of all writers: log keys by (org, call_id, admit_time), ...
    WITH written AS (
        INSERT INTO usage_log AS l (
            org, call_id, parent_call_id, admit_time, operation, provider, model, api_key_id,
            labels, outcome, cost_basis, price_version, held_nanos, total_nanos, input_token_count,
            cache_read_token_count, cache_write_5m_token_count, cache_write_1h_token_count,
            output_token_count, reasoning_token_count, latency_ms, error_type, payload_digest,
            team, user_name, session, feature, priority, held_token_count, service_tier,
            baseline_nanos, audio_input_token_count, audio_cache_read_token_count,
            audio_output_token_count, image_input_token_count, image_cache_read_token_count,
            image_output_token_count, image_count, character_count, audio_ms, video_ms,
            web_search_count, file_search_count, page_count, code_session_count, approved
        )
        SELECT
            m.org, m.call_id, m.parent_call_id, m.admit_time, m.operation, m.provider, m.model,
            m.api_key_id, m.labels, m.outcome, m.cost_basis, m.price_version, m.held_nanos,
            m.total_nanos, m.input, m.cache_read, m.cache_write_5m, m.cache_write_1h, m.output,
            m.reasoning, m.latency_ms, m.error_type, m.payload_digest, m.team, m.user_name,
            m.session, m.feature, m.priority, m.held_token_count, m.service_tier, m.baseline_nanos,
            (m.units ->> 'audio_input_token_count')::integer,
            (m.units ->> 'audio_cache_read_token_count')::integer,
            (m.units ->> 'audio_output_token_count')::integer,
            (m.units ->> 'image_input_token_count')::integer,
            (m.units ->> 'image_cache_read_token_count')::integer,
            (m.units ->> 'image_output_token_count')::integer,
            (m.units ->> 'image_count')::integer,
            (m.units ->> 'character_count')::integer,
            (m.units ->> 'audio_ms')::integer,
            (m.units ->> 'video_ms')::integer,
            (m.units ->> 'web_search_count')::integer,
            (m.units ->> 'file_search_count')::integer,
            (m.units ->> 'page_count')::integer,
            (m.units ->> 'code_session_count')::integer,
            (m.units ->> 'approved')::boolean
        FROM unnest(
            p_org, p_call_id, p_parent_call_id, p_admit_time, p_operation, p_provider, p_model,
            p_api_key_id, p_labels, p_outcome, p_cost_basis, p_price_version, p_held_nanos,
            p_total_nanos, p_input, p_cache_read, p_cache_write_5m, p_cache_write_1h, p_output,
            p_reasoning, p_latency_ms, p_error_type, p_payload_digest, p_team, p_user_name,
            p_session, p_feature, p_priority, p_held_token_count, p_service_tier, p_baseline_nanos,
            p_units
        ) WITH ORDINALITY AS m (
            org, call_id, parent_call_id, admit_time, operation, provider, model, api_key_id,
            labels, outcome, cost_basis, price_version, held_nanos, total_nanos, input, cache_read,
            cache_write_5m, cache_write_1h, output, reasoning, latency_ms, error_type,
            payload_digest, team, user_name, session, feature, priority, held_token_count,
            service_tier, baseline_nanos, units, place
        )
        WHERE m.admit_time BETWEEN v_oldest AND v_newest
        ORDER BY m.org COLLATE "C", m.call_id, m.admit_time, m.place
        ON CONFLICT (org, call_id, admit_time, revision) DO NOTHING
        RETURNING l
    )
    SELECT array_agg(w.l) INTO v_written FROM written AS w;

    -- ... then the rollups.
    IF v_written IS NOT NULL THEN
        PERFORM add_to_rollups(v_written, p_value_count_max);
    END IF;

    IF coalesce(cardinality(v_written), 0) = cardinality(p_org) THEN
        RETURN;
    END IF;

    -- A statement of its own: it sees what the transactions wrote that the insert waited for.
    RETURN QUERY
    WITH member AS (
        SELECT
            m.org, m.call_id, m.admit_time, m.payload_digest, m.place,
            row_number() OVER (PARTITION BY m.org, m.call_id, m.admit_time ORDER BY m.place) AS nth
        FROM unnest(p_org, p_call_id, p_admit_time, p_payload_digest) WITH ORDINALITY
            AS m (org, call_id, admit_time, payload_digest, place)
    )
    SELECT
        m.place::integer,
        CASE
            WHEN m.admit_time < v_oldest THEN 4
            WHEN m.admit_time > v_newest THEN 5
            WHEN stored.payload_digest = m.payload_digest THEN 2
            ELSE 3
        END,
        coalesce(stored.total_nanos, 0),
        coalesce(stored.cost_basis, 0)::integer,
        coalesce(stored.revision, 0),
        stored.token_count
    FROM member AS m
    LEFT JOIN LATERAL (
        SELECT
            l.payload_digest, l.total_nanos, l.cost_basis, l.revision,
            token_total(l) AS token_count
        FROM usage_log AS l
        WHERE l.org = m.org AND l.call_id = m.call_id AND l.admit_time = m.admit_time
        ORDER BY l.revision DESC
        LIMIT 1
    ) AS stored ON TRUE
    WHERE m.nth > 1 OR NOT EXISTS (
        SELECT 1
        FROM unnest(v_written) AS w
        WHERE w.org = m.org AND w.call_id = m.call_id AND w.admit_time = m.admit_time
    );
END;
$$;

-- What servers of before call: the same without what they do not know of.
CREATE FUNCTION record_usage(
    p_org text[],
    p_call_id uuid[],
    p_parent_call_id uuid[],
    p_admit_time timestamptz[],
    p_operation text[],
    p_provider text[],
    p_model text[],
    p_api_key_id text[],
    p_labels jsonb[],
    p_outcome smallint[],
    p_cost_basis smallint[],
    p_price_version bigint[],
    p_held_nanos bigint[],
    p_total_nanos bigint[],
    p_input bigint[],
    p_cache_read bigint[],
    p_cache_write_5m bigint[],
    p_cache_write_1h bigint[],
    p_output bigint[],
    p_reasoning bigint[],
    p_latency_ms integer[],
    p_error_type text[],
    p_payload_digest bytea[],
    p_horizon interval,
    p_clock_skew interval
)
RETURNS TABLE (
    place integer, status integer, total_nanos bigint, cost_basis integer, revision integer
)
LANGUAGE sql
SET search_path = accounting, pg_temp
AS $$
    SELECT place, status, total_nanos, cost_basis, revision
    FROM book_usage(
        p_org, p_call_id, p_parent_call_id, p_admit_time, p_operation, p_provider, p_model,
        p_api_key_id, p_labels, p_outcome, p_cost_basis, p_price_version, p_held_nanos,
        p_total_nanos, p_input, p_cache_read, p_cache_write_5m, p_cache_write_1h, p_output,
        p_reasoning, p_latency_ms, p_error_type, p_payload_digest,
        CAST('{}' AS text[]), CAST('{}' AS text[]), CAST('{}' AS text[]), CAST('{}' AS text[]),
        CAST('{}' AS smallint[]), CAST('{}' AS bigint[]), CAST('{}' AS text[]),
        CAST('{}' AS bigint[]), CAST('{}' AS jsonb[]),
        1000, p_horizon, p_clock_skew
    )
$$;
