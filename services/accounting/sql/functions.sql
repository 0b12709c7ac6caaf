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
        WHERE i.inhparent = 'usage_entry'::regclass AND c.relname = v_name
    ) THEN
        RETURN TRUE;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE usage_entry INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
        v_name
    );
    EXECUTE format(
        'ALTER TABLE usage_entry ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        v_name,
        p_day::timestamp AT TIME ZONE 'UTC',
        (p_day + 1)::timestamp AT TIME ZONE 'UTC'
    );
    RETURN TRUE;
END;
$$;

-- One attempt as a batch sends it: an array of them takes the driver and the database half as long as
-- an array for each column. `units` has the rarer meters, and what else few calls have, by their names;
-- ids are those of `name_calls`.
CREATE TYPE booked_call AS (
    org text,
    call_id uuid,
    parent_call_id uuid,
    admit_time timestamptz,
    operation text,
    provider text,
    model text,
    api_key_id text,
    labels jsonb,
    outcome smallint,
    cost_basis smallint,
    price_version bigint,
    held_nanos bigint,
    total_nanos bigint,
    input bigint,
    cache_read bigint,
    cache_write_5m bigint,
    cache_write_1h bigint,
    output bigint,
    reasoning bigint,
    latency_ms integer,
    error_type text,
    payload_digest bytea,
    team text,
    user_name text,
    session text,
    feature text,
    priority smallint,
    held_token_count bigint,
    service_tier text,
    baseline_nanos bigint,
    units jsonb,
    kind_id integer,
    caller_id integer
);

-- Books a batch of attempts: log and rollups, or nothing at all.
-- Returns a row for each member that it did not write itself, by its place in the batch from 1:
-- status 2 an earlier one had written it (with what stands there), 3 it stands there with
-- another payload, 4 admitted before the horizon, 5 admitted in the future.
-- Partitions for all days within the horizon must exist.
CREATE FUNCTION book_calls(
    p_calls booked_call[],
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
    v_calls usage_log[];
    v_written integer[];
BEGIN
    SELECT array_agg((
        m.org, m.call_id, m.parent_call_id, 1::smallint, m.admit_time, v_now, m.operation,
        m.provider, m.model, m.api_key_id, m.labels, m.outcome, m.cost_basis,
        m.price_version::integer, m.held_nanos, m.total_nanos, m.input, m.cache_read,
        m.cache_write_5m, m.cache_write_1h, m.output, m.reasoning, m.latency_ms, m.error_type,
        m.payload_digest, NULL, nextval('usage_log_row_id_seq')::integer, m.team, m.user_name,
        m.session, m.feature, m.priority, m.held_token_count, m.service_tier, m.baseline_nanos,
        (m.units ->> 'audio_input_token_count')::integer,
        (m.units ->> 'audio_cache_read_token_count')::integer,
        (m.units ->> 'audio_output_token_count')::integer,
        (m.units ->> 'image_input_token_count')::integer,
        (m.units ->> 'image_cache_read_token_count')::integer,
        (m.units ->> 'image_output_token_count')::integer, (m.units ->> 'image_count')::integer,
        (m.units ->> 'character_count')::integer, (m.units ->> 'audio_ms')::integer,
        (m.units ->> 'video_ms')::integer, (m.units ->> 'web_search_count')::integer,
        (m.units ->> 'file_search_count')::integer, (m.units ->> 'page_count')::integer,
        (m.units ->> 'code_session_count')::integer, NULL, NULL, NULL, NULL, NULL, NULL,
        (m.units ->> 'approved')::boolean, m.kind_id, m.caller_id, NULL
    )::usage_log)
    INTO v_calls
    FROM unnest(p_calls) AS m
    WHERE m.admit_time BETWEEN v_oldest AND v_newest;

    -- Locks, in the one order of all writers: log keys by (call_id, admit_time, org), ...
    WITH written AS (
        INSERT INTO usage_entry AS l (
            org, call_id, parent_call_id, admit_time, labels, outcome, cost_basis, price_version,
            held_nanos, total_nanos, input_token_count, cache_read_token_count,
            cache_write_5m_token_count, cache_write_1h_token_count, output_token_count,
            reasoning_token_count, latency_ms, error_type, payload_digest, row_id, user_name,
            session, priority, held_token_count, service_tier, baseline_nanos,
            audio_input_token_count, audio_cache_read_token_count, audio_output_token_count,
            image_input_token_count, image_cache_read_token_count, image_output_token_count,
            image_count, character_count, audio_ms, video_ms, web_search_count, file_search_count,
            page_count, code_session_count, approved, kind_id, caller_id
        )
        SELECT
            c.org, c.call_id, c.parent_call_id, c.admit_time, c.labels, c.outcome, c.cost_basis,
            c.price_version, c.held_nanos, c.total_nanos, c.input_token_count,
            c.cache_read_token_count, c.cache_write_5m_token_count, c.cache_write_1h_token_count,
            c.output_token_count, c.reasoning_token_count, c.latency_ms, c.error_type,
            c.payload_digest, c.row_id, c.user_name, c.session, c.priority, c.held_token_count,
            c.service_tier, c.baseline_nanos, c.audio_input_token_count,
            c.audio_cache_read_token_count, c.audio_output_token_count, c.image_input_token_count,
            c.image_cache_read_token_count, c.image_output_token_count, c.image_count,
            c.character_count, c.audio_ms, c.video_ms, c.web_search_count, c.file_search_count,
            c.page_count, c.code_session_count, c.approved, c.kind_id, c.caller_id
        FROM unnest(v_calls) AS c
        ORDER BY c.call_id, c.admit_time, c.org, c.row_id
        ON CONFLICT (call_id, admit_time, org, revision) DO NOTHING
        RETURNING l.row_id
    )
    SELECT array_agg(w.row_id) INTO v_written FROM written AS w;

    IF cardinality(v_calls) > coalesce(cardinality(v_written), 0) THEN
        SELECT array_agg(c) INTO v_calls
        FROM unnest(v_calls) AS c
        WHERE c.row_id = any(v_written);
    END IF;

    -- ... then the rollups.
    IF v_calls IS NOT NULL THEN
        PERFORM add_to_rollups(v_calls, p_value_count_max);
    END IF;

    IF coalesce(cardinality(v_calls), 0) = cardinality(p_calls) THEN
        RETURN;
    END IF;

    -- A statement of its own: it sees what the transactions wrote that the insert waited for.
    RETURN QUERY
    WITH member AS (
        SELECT
            m.org, m.call_id, m.admit_time, m.payload_digest, m.ordinality AS place,
            row_number() OVER (
                PARTITION BY m.org, m.call_id, m.admit_time ORDER BY m.ordinality
            ) AS nth
        FROM unnest(p_calls) WITH ORDINALITY AS m
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
        coalesce(stored.revision, 0)::integer,
        stored.token_count
    FROM member AS m
    LEFT JOIN LATERAL (
        SELECT
            l.payload_digest, l.total_nanos, l.cost_basis, l.revision,
            token_total(l) AS token_count
        FROM usage_entry AS l
        WHERE l.org = m.org AND l.call_id = m.call_id AND l.admit_time = m.admit_time
        ORDER BY l.revision DESC
        LIMIT 1
    ) AS stored ON TRUE
    WHERE m.nth > 1 OR NOT EXISTS (
        SELECT 1
        FROM unnest(v_calls) AS w
        WHERE w.org = m.org AND w.call_id = m.call_id AND w.admit_time = m.admit_time
    );
END;
$$;
