-- What servers of earlier versions call: they know less.

-- What servers of before call: they know no ids, and their digests are longer.
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
    v_kind_ids integer[];
    v_caller_ids integer[];
    v_calls booked_call[];
BEGIN
    SELECT n.kind_ids, n.caller_ids INTO v_kind_ids, v_caller_ids
    FROM name_calls(
        p_operation, p_provider, p_model, p_org, p_api_key_id, p_team, p_feature
    ) AS n;
    SELECT array_agg((
        m.org, m.call_id, m.parent_call_id, m.admit_time, m.operation, m.provider, m.model,
        m.api_key_id, m.labels, m.outcome, m.cost_basis, m.price_version, m.held_nanos,
        m.total_nanos, m.input, m.cache_read, m.cache_write_5m, m.cache_write_1h, m.output,
        m.reasoning, m.latency_ms, m.error_type, substr(m.payload_digest, 1, 8), m.team,
        m.user_name, m.session, m.feature, m.priority, m.held_token_count, m.service_tier,
        m.baseline_nanos, m.units, m.kind_id, m.caller_id
    )::booked_call ORDER BY m.place)
    INTO v_calls
    FROM unnest(
        p_org, p_call_id, p_parent_call_id, p_admit_time, p_operation, p_provider, p_model,
        p_api_key_id, p_labels, p_outcome, p_cost_basis, p_price_version, p_held_nanos,
        p_total_nanos, p_input, p_cache_read, p_cache_write_5m, p_cache_write_1h, p_output,
        p_reasoning, p_latency_ms, p_error_type, p_payload_digest, p_team, p_user_name, p_session,
        p_feature, p_priority, p_held_token_count, p_service_tier, p_baseline_nanos, p_units,
        v_kind_ids, v_caller_ids
    ) WITH ORDINALITY AS m (
        org, call_id, parent_call_id, admit_time, operation, provider, model, api_key_id, labels,
        outcome, cost_basis, price_version, held_nanos, total_nanos, input, cache_read,
        cache_write_5m, cache_write_1h, output, reasoning, latency_ms, error_type, payload_digest,
        team, user_name, session, feature, priority, held_token_count, service_tier,
        baseline_nanos, units, kind_id, caller_id, place
    );
    RETURN QUERY
    SELECT b.place, b.status, b.total_nanos, b.cost_basis, b.revision, b.token_count
    FROM book_calls(v_calls, p_value_count_max, p_horizon, p_clock_skew) AS b;
END;
$$;

-- What servers of long before call: the same without what they do not know of.
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
