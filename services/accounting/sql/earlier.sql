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
BEGIN
    SELECT n.kind_ids, n.caller_ids INTO v_kind_ids, v_caller_ids
    FROM name_calls(
        p_operation, p_provider, p_model, p_org, p_api_key_id, p_team, p_feature
    ) AS n;
    RETURN QUERY
    SELECT b.place, b.status, b.total_nanos, b.cost_basis, b.revision, b.token_count
    FROM book_calls(
        p_org, p_call_id, p_parent_call_id, p_admit_time, p_operation, p_provider, p_model,
        p_api_key_id, p_labels, p_outcome, p_cost_basis, p_price_version, p_held_nanos,
        p_total_nanos, p_input, p_cache_read, p_cache_write_5m, p_cache_write_1h, p_output,
        p_reasoning, p_latency_ms, p_error_type,
        ARRAY(SELECT substr(d.digest, 1, 8) FROM unnest(p_payload_digest) AS d (digest)),
        p_team, p_user_name, p_session, p_feature, p_priority, p_held_token_count, p_service_tier,
        p_baseline_nanos, p_units, v_kind_ids, v_caller_ids, p_value_count_max, p_horizon,
        p_clock_skew
    ) AS b;
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
