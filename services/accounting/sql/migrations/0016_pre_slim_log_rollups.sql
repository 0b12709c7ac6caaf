-- The rollups of the slimmer log.

-- The rollups that a row of the log belongs to. Level 1 is an org's hour, 2 its day, 3 one value of
-- a dimension on a day, 4 the platform's day. Inlined by the planner: keep it one plain query. No
-- VALUES: their expressions would be compiled again for each row.
CREATE FUNCTION rollup_shares(
    p_org text,
    p_admit_time timestamptz,
    p_labels jsonb,
    p_user_name text,
    p_operation text,
    p_provider text,
    p_model text,
    p_api_key_id text,
    p_team text,
    p_feature text
)
RETURNS TABLE (
    level smallint,
    org text,
    hour smallint,
    dimension text,
    value text,
    operation text,
    provider text,
    model text
)
LANGUAGE sql
STABLE
AS $$
    SELECT
        1::smallint, p_org, extract(HOUR FROM p_admit_time AT TIME ZONE 'UTC')::smallint, '', '',
        p_operation, p_provider, p_model
    UNION ALL
    SELECT 2::smallint, p_org, 0::smallint, '', '', p_operation, p_provider, p_model
    UNION ALL
    SELECT 3::smallint, p_org, 0::smallint, 'api_key', p_api_key_id, '', '', ''
    WHERE p_api_key_id <> ''
    UNION ALL
    SELECT 3::smallint, p_org, 0::smallint, 'feature', p_feature, '', '', ''
    WHERE p_feature <> ''
    UNION ALL
    SELECT 3::smallint, p_org, 0::smallint, 'team', p_team, '', '', ''
    WHERE p_team <> ''
    UNION ALL
    SELECT 3::smallint, p_org, 0::smallint, 'user', p_user_name, '', '', ''
    WHERE p_user_name IS NOT NULL
    UNION ALL
    SELECT 4::smallint, '', 0::smallint, '', '', '', '', ''
    UNION ALL
    SELECT
        3::smallint, p_org, 0::smallint, 'label.' || r.label, p_labels ->> r.label, '', '', ''
    FROM accounting.rolled_up_label AS r
    WHERE
        p_labels IS NOT NULL AND p_labels ? r.label
        AND p_admit_time >= r.since_day::timestamp AT TIME ZONE 'UTC'
$$;

-- Finds values that get no rollup of their own: the bound of distinct values of their dimension, org
-- and day is reached. Their calls go to the row of the empty value. Whoever brings a new value
-- locks the dimension's bound until the end of the transaction, so that the bound is exact and
-- every call of one value and day goes to one row.
CREATE FUNCTION bound_values(p_rows usage_call[], p_value_count_max integer)
RETURNS SETOF dimension_value
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
-- Every look-up is by key, whatever the planner believed when the tables were empty.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_new dimension_value[];
BEGIN
    SELECT array_agg((n.org, n.day, n.dimension, n.value)::dimension_value) INTO v_new
    FROM (
        SELECT DISTINCT
            s.org COLLATE "C" AS org,
            (l.admit_time AT TIME ZONE 'UTC')::date AS day,
            s.dimension COLLATE "C" AS dimension,
            s.value COLLATE "C" AS value
        FROM unnest(p_rows) AS l
        CROSS JOIN LATERAL rollup_shares(
            l.org, l.admit_time, l.labels, l.user_name, l.operation, l.provider, l.model,
            l.api_key_id, l.team, l.feature
        ) AS s
        WHERE s.level = 3
    ) AS n
    LEFT JOIN LATERAL (
        SELECT TRUE AS is_known FROM rollup_dimension_day AS r
        WHERE
            r.level = 3 AND r.org = n.org AND r.day = n.day AND r.hour = 0
            AND r.dimension = n.dimension AND r.value = n.value
        LIMIT 1
    ) AS known ON TRUE
    WHERE known.is_known IS NULL;
    IF v_new IS NULL THEN
        RETURN;
    END IF;
    INSERT INTO dimension_bound (org, day, dimension)
    SELECT DISTINCT v.org, v.day, v.dimension
    FROM unnest(v_new) AS v
    ORDER BY 1, 2, 3
    ON CONFLICT DO NOTHING;
    PERFORM b.value_count
    FROM (
        SELECT DISTINCT v.org, v.day, v.dimension FROM unnest(v_new) AS v ORDER BY 1, 2, 3
    ) AS k
    CROSS JOIN LATERAL (
        SELECT b.value_count FROM dimension_bound AS b
        WHERE b.org = k.org AND b.day = k.day AND b.dimension = k.dimension
        FOR UPDATE
    ) AS b;
    -- A statement of its own: it sees what the transactions made that the locks waited for.
    RETURN QUERY
    WITH candidate AS (
        SELECT
            v.org, v.day, v.dimension, v.value,
            b.value_count + row_number() OVER (
                PARTITION BY v.org, v.day, v.dimension ORDER BY v.value
            ) > p_value_count_max AS is_beyond
        FROM unnest(v_new) AS v
        CROSS JOIN LATERAL (
            SELECT b.value_count FROM dimension_bound AS b
            WHERE b.org = v.org AND b.day = v.day AND b.dimension = v.dimension
            LIMIT 1
        ) AS b
        LEFT JOIN LATERAL (
            SELECT TRUE AS is_known FROM rollup_dimension_day AS r
            WHERE
                r.level = 3 AND r.org = v.org AND r.day = v.day AND r.hour = 0
                AND r.dimension = v.dimension AND r.value = v.value
            LIMIT 1
        ) AS known ON TRUE
        WHERE known.is_known IS NULL
    ),

    counted AS (
        UPDATE dimension_bound AS b
        SET
            value_count = b.value_count + c.new_count,
            is_reached = b.is_reached OR c.is_reached
        FROM (
            SELECT
                c.org, c.day, c.dimension,
                count(*) FILTER (WHERE NOT c.is_beyond) AS new_count,
                bool_or(c.is_beyond) AS is_reached
            FROM candidate AS c
            GROUP BY 1, 2, 3
        ) AS c
        WHERE b.org = c.org AND b.day = c.day AND b.dimension = c.dimension
    )

    SELECT c.org, c.day, c.dimension, c.value FROM candidate AS c WHERE c.is_beyond;
END;
$$;

-- Adds rows of the log, written by this transaction, to the rollups that they belong to. Locks the
-- bounds of new values, then rollups in the order of their key: the platform's is last, because
-- it is the hottest.
CREATE FUNCTION add_to_rollups(p_rows usage_call[], p_value_count_max integer)
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
