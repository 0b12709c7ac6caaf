-- The rollups: how they are written, and the sums that they should be.

-- Adds rows of the log, written by this transaction, to the rollups that they belong to. Locks the
-- bounds of new values, then rollups in the order of their key: the platform's is last, because
-- it is the hottest.
CREATE FUNCTION add_to_rollups(p_rows usage_log[], p_value_count_max integer)
RETURNS void
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
AS $$
DECLARE
    v_beyond text[];
BEGIN
    SELECT array_agg(concat_ws(chr(1), b.day, b.org, b.dimension, b.value)) INTO v_beyond
    FROM bound_values(p_rows, p_value_count_max) AS b;
    INSERT INTO rollup AS r (
        level, org, day, hour, dimension, value, operation, provider, model,
        call_count, failed_count, unreported_count, cost_nanos, unreported_cost_nanos,
        baseline_nanos, latency_histogram, input_token_count, cache_read_token_count,
        cache_write_5m_token_count, cache_write_1h_token_count, output_token_count,
        reasoning_token_count, audio_input_token_count, audio_cache_read_token_count,
        audio_output_token_count, image_input_token_count, image_cache_read_token_count,
        image_output_token_count, image_count, character_count, audio_ms, video_ms,
        web_search_count, file_search_count, page_count, code_session_count, saved_nanos,
        approved_count
    )
    SELECT
        s.level, s.org COLLATE "C", (l.admit_time AT TIME ZONE 'UTC')::date, s.hour,
        s.dimension COLLATE "C",
        CASE
            WHEN s.level = 3 AND v_beyond IS NOT NULL AND concat_ws(
                chr(1), (l.admit_time AT TIME ZONE 'UTC')::date, s.org, s.dimension, s.value
            ) = ANY(v_beyond) THEN ''
            ELSE s.value
        END COLLATE "C",
        s.operation COLLATE "C", s.provider COLLATE "C", s.model COLLATE "C",
        count(*) FILTER (WHERE l.revision = 1),
        count(*) FILTER (WHERE l.revision = 1 AND l.outcome <> 1),
        count(*) FILTER (WHERE l.revision = 1 AND l.cost_basis = 2)
        + coalesce(sum(l.unreported_delta_count), 0),
        sum(coalesce(l.delta_nanos, l.total_nanos)),
        coalesce(sum(l.total_nanos) FILTER (WHERE l.revision = 1 AND l.cost_basis = 2), 0)
        + coalesce(sum(l.unreported_delta_nanos), 0),
        sum(l.baseline_nanos),
        coalesce(sum(latency_weight(l.latency_ms)) FILTER (WHERE l.outcome = 1), 0),
        coalesce(sum(l.input_token_count), 0),
        coalesce(sum(l.cache_read_token_count), 0),
        coalesce(sum(l.cache_write_5m_token_count), 0),
        coalesce(sum(l.cache_write_1h_token_count), 0),
        coalesce(sum(l.output_token_count), 0),
        coalesce(sum(l.reasoning_token_count), 0),
        sum(l.audio_input_token_count),
        sum(l.audio_cache_read_token_count),
        sum(l.audio_output_token_count),
        sum(l.image_input_token_count),
        sum(l.image_cache_read_token_count),
        sum(l.image_output_token_count),
        sum(l.image_count),
        sum(l.character_count),
        sum(l.audio_ms),
        sum(l.video_ms),
        sum(l.web_search_count),
        sum(l.file_search_count),
        sum(l.page_count),
        sum(l.code_session_count),
        sum(l.baseline_nanos - coalesce(l.delta_nanos, l.total_nanos)),
        count(*) FILTER (WHERE l.revision = 1 AND l.approved)
    FROM unnest(p_rows) AS l
    CROSS JOIN LATERAL rollup_shares(
        l.org, l.admit_time, l.labels, l.user_name, l.operation, l.provider, l.model, l.api_key_id,
        l.team, l.feature
    ) AS s
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    ON CONFLICT (level, org, day, hour, dimension, value, operation, provider, model)
    DO UPDATE SET
        call_count = r.call_count + excluded.call_count,
        failed_count = r.failed_count + excluded.failed_count,
        unreported_count = r.unreported_count + excluded.unreported_count,
        cost_nanos = r.cost_nanos + excluded.cost_nanos,
        unreported_cost_nanos = r.unreported_cost_nanos + excluded.unreported_cost_nanos,
        latency_histogram = r.latency_histogram + excluded.latency_histogram,
        input_token_count = r.input_token_count + excluded.input_token_count,
        cache_read_token_count = r.cache_read_token_count + excluded.cache_read_token_count,
        cache_write_5m_token_count
        = r.cache_write_5m_token_count + excluded.cache_write_5m_token_count,
        cache_write_1h_token_count
        = r.cache_write_1h_token_count + excluded.cache_write_1h_token_count,
        output_token_count = r.output_token_count + excluded.output_token_count,
        reasoning_token_count = r.reasoning_token_count + excluded.reasoning_token_count,
        baseline_nanos = plus(r.baseline_nanos, excluded.baseline_nanos),
        audio_input_token_count
        = plus(r.audio_input_token_count, excluded.audio_input_token_count),
        audio_cache_read_token_count
        = plus(r.audio_cache_read_token_count, excluded.audio_cache_read_token_count),
        audio_output_token_count
        = plus(r.audio_output_token_count, excluded.audio_output_token_count),
        image_input_token_count
        = plus(r.image_input_token_count, excluded.image_input_token_count),
        image_cache_read_token_count
        = plus(r.image_cache_read_token_count, excluded.image_cache_read_token_count),
        image_output_token_count
        = plus(r.image_output_token_count, excluded.image_output_token_count),
        image_count = plus(r.image_count, excluded.image_count),
        character_count = plus(r.character_count, excluded.character_count),
        audio_ms = plus(r.audio_ms, excluded.audio_ms),
        video_ms = plus(r.video_ms, excluded.video_ms),
        web_search_count = plus(r.web_search_count, excluded.web_search_count),
        file_search_count = plus(r.file_search_count, excluded.file_search_count),
        page_count = plus(r.page_count, excluded.page_count),
        code_session_count = plus(r.code_session_count, excluded.code_session_count),
        saved_nanos = plus(r.saved_nanos, excluded.saved_nanos),
        approved_count = r.approved_count + excluded.approved_count;
END;
$$;

-- What all rollups of a day should be.
CREATE FUNCTION sum_log_day(p_day date)
RETURNS SETOF rollup
LANGUAGE sql
STABLE
SET search_path = accounting, pg_temp
AS $$
    SELECT
        s.level, s.org COLLATE "C", p_day, s.hour, s.dimension COLLATE "C",
        CASE WHEN b.is_reached AND r.org IS NULL THEN '' ELSE s.value END COLLATE "C",
        s.operation COLLATE "C", s.provider COLLATE "C", s.model COLLATE "C",
        count(*) FILTER (WHERE l.revision = 1),
        count(*) FILTER (WHERE l.revision = 1 AND l.outcome <> 1),
        count(*) FILTER (WHERE l.revision = 1 AND l.cost_basis = 2)
        + coalesce(sum(l.unreported_delta_count), 0),
        sum(coalesce(l.delta_nanos, l.total_nanos)),
        coalesce(sum(l.total_nanos) FILTER (WHERE l.revision = 1 AND l.cost_basis = 2), 0)
        + coalesce(sum(l.unreported_delta_nanos), 0),
        sum(l.baseline_nanos),
        coalesce(sum(latency_weight(l.latency_ms)) FILTER (WHERE l.outcome = 1), 0),
        coalesce(sum(l.input_token_count), 0),
        coalesce(sum(l.cache_read_token_count), 0),
        coalesce(sum(l.cache_write_5m_token_count), 0),
        coalesce(sum(l.cache_write_1h_token_count), 0),
        coalesce(sum(l.output_token_count), 0),
        coalesce(sum(l.reasoning_token_count), 0),
        sum(l.audio_input_token_count),
        sum(l.audio_cache_read_token_count),
        sum(l.audio_output_token_count),
        sum(l.image_input_token_count),
        sum(l.image_cache_read_token_count),
        sum(l.image_output_token_count),
        sum(l.image_count),
        sum(l.character_count),
        sum(l.audio_ms),
        sum(l.video_ms),
        sum(l.web_search_count),
        sum(l.file_search_count),
        sum(l.page_count),
        sum(l.code_session_count),
        sum(l.baseline_nanos - coalesce(l.delta_nanos, l.total_nanos)),
        count(*) FILTER (WHERE l.revision = 1 AND l.approved)
    FROM usage_log AS l
    CROSS JOIN LATERAL rollup_shares(
        l.org, l.admit_time, l.labels, l.user_name, l.operation, l.provider, l.model, l.api_key_id,
        l.team, l.feature
    ) AS s
    LEFT JOIN dimension_bound AS b
        ON s.level = 3 AND b.org = s.org AND b.day = p_day AND b.dimension = s.dimension
    LEFT JOIN rollup_dimension_day AS r
        ON
            b.is_reached AND r.level = 3 AND r.org = s.org AND r.day = p_day AND r.hour = 0
            AND r.dimension = s.dimension AND r.value = s.value
    WHERE
        l.admit_time >= p_day::timestamp AT TIME ZONE 'UTC'
        AND l.admit_time < (p_day + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;
$$;
