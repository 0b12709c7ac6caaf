-- Books approvals, and keeps feedback on calls.

-- Books a batch of attempts: log and rollups, or nothing at all.
-- Returns a row for each member that it did not write itself, by its place in the batch from 1:
-- status 2 an earlier one had written it (with what stands there), 3 it stands there with
-- another payload, 4 admitted before the horizon, 5 admitted in the future.
-- The arrays are parallel. Partitions for all days within the horizon must exist. `p_units` has the
-- rarer meters, and what else few calls have, by their names.
CREATE OR REPLACE FUNCTION book_usage(
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

-- How good a call was, by metric. No words of anybody: a score is all.
CREATE TABLE feedback (
    org text COLLATE "C" NOT NULL,
    call_id uuid NOT NULL,
    metric text COLLATE "C" NOT NULL,
    -- From 0 to a million.
    score_micros integer NOT NULL,
    -- Of the call's admission, in UTC.
    day date NOT NULL,
    operation text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    record_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT feedback_key PRIMARY KEY (org, call_id, metric),
    CONSTRAINT feedback_score_check CHECK (score_micros BETWEEN 0 AND 1000000)
);

-- Old feedback leaves by day.
CREATE INDEX feedback_day_idx ON feedback (day);

-- Sums of the feedback, written in its own transaction. They stay when it leaves.
CREATE TABLE feedback_rollup (
    org text COLLATE "C" NOT NULL,
    day date NOT NULL,
    operation text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    metric text COLLATE "C" NOT NULL,
    score_count bigint NOT NULL DEFAULT 0,
    score_micros bigint NOT NULL DEFAULT 0,
    CONSTRAINT feedback_rollup_key PRIMARY KEY (org, day, operation, provider, model, metric)
);

-- Keeps one score of a call, and adds it to the sums. A later one replaces it. Returns 1 for a new
-- score, 2 if it was that already, 3 if it was another, 4 if the org's day has as many metrics as
-- it may have and this is not one of them: nothing is kept then.
CREATE FUNCTION record_feedback(
    p_org text,
    p_call_id uuid,
    p_metric text,
    p_score_micros integer,
    p_day date,
    p_operation text,
    p_provider text,
    p_model text,
    p_metric_count_max integer
)
RETURNS integer
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
AS $$
DECLARE
    v_known feedback;
    v_status integer := 1;
BEGIN
    IF (
        SELECT count(DISTINCT r.metric) >= p_metric_count_max
        AND count(*) FILTER (WHERE r.metric = p_metric) = 0
        FROM feedback_rollup AS r
        WHERE r.org = p_org AND r.day = p_day
    ) THEN
        RETURN 4;
    END IF;
    INSERT INTO feedback AS f (
        org, call_id, metric, score_micros, day, operation, provider, model
    )
    VALUES (
        p_org, p_call_id, p_metric, p_score_micros, p_day, p_operation, p_provider, p_model
    )
    ON CONFLICT (org, call_id, metric) DO NOTHING
    RETURNING f.* INTO v_known;
    IF v_known IS NULL THEN
        v_status := 3;
        -- The lock, and then a look at what it waited for.
        SELECT f.* INTO STRICT v_known
        FROM feedback AS f
        WHERE f.org = p_org AND f.call_id = p_call_id AND f.metric = p_metric
        FOR UPDATE;
        IF v_known.score_micros = p_score_micros THEN
            RETURN 2;
        END IF;
        UPDATE feedback AS f
        SET score_micros = p_score_micros, record_time = clock_timestamp()
        WHERE f.org = p_org AND f.call_id = p_call_id AND f.metric = p_metric;
    END IF;
    INSERT INTO feedback_rollup AS r (
        org, day, operation, provider, model, metric, score_count, score_micros
    )
    VALUES (
        v_known.org, v_known.day, v_known.operation, v_known.provider, v_known.model, p_metric,
        (v_status = 1)::integer,
        p_score_micros - CASE WHEN v_status = 1 THEN 0 ELSE v_known.score_micros END
    )
    ON CONFLICT (org, day, operation, provider, model, metric) DO UPDATE SET
        score_count = r.score_count + excluded.score_count,
        score_micros = r.score_micros + excluded.score_micros;
    RETURN v_status;
END;
$$;
