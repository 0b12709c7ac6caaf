-- Which rollups a row of the log belongs to, and what one call adds to a sum.

-- Adds what may be missing: NULL is nothing reported, which is not zero.
CREATE FUNCTION plus(p_left numeric, p_right numeric)
RETURNS numeric
LANGUAGE sql
IMMUTABLE
RETURN coalesce(p_left + p_right, p_left, p_right);

CREATE FUNCTION plus(p_left bigint, p_right bigint)
RETURNS bigint
LANGUAGE sql
IMMUTABLE
RETURN coalesce(p_left + p_right, p_left, p_right);

-- A histogram of one call: 32 buckets of twelve decimal digits each in one number, so that + and
-- sum() add histograms. The bounds of the buckets are those of domain/latency.py; two buckets
-- double the time.
CREATE FUNCTION latency_weight(p_latency_ms integer)
RETURNS numeric
LANGUAGE sql
IMMUTABLE
RETURN (
    '1e' || (12 * width_bucket(
        p_latency_ms,
        ARRAY[
            25, 35, 50, 71, 100, 141, 200, 283, 400, 566, 800, 1131, 1600, 2263, 3200, 4525, 6400,
            9051, 12800, 18102, 25600, 36204, 51200, 72408, 102400, 144815, 204800, 289631, 409600,
            579262, 819200
        ]
    ))::text
)::numeric;

-- Tokens of all kinds that a call used, as far as reported. NULL: nobody said.
CREATE FUNCTION token_total(l usage_log)
RETURNS bigint
LANGUAGE sql
STABLE
AS $$
    SELECT CASE
        WHEN l.revision > 1 THEN l.corrected_token_count
        ELSE (
            SELECT sum(t.token_count)
            FROM unnest(
                ARRAY[
                    l.input_token_count, l.cache_read_token_count, l.cache_write_5m_token_count,
                    l.cache_write_1h_token_count, l.output_token_count, l.reasoning_token_count,
                    l.audio_input_token_count, l.audio_cache_read_token_count,
                    l.audio_output_token_count, l.image_input_token_count,
                    l.image_cache_read_token_count, l.image_output_token_count
                ]
            ) AS t (token_count)
        )
    END
$$;

-- The rollups that a row of the log belongs to. Level 1 is an org's hour, 2 its day, 3 one value of
-- a dimension on a day, 4 the platform's day. Inlined by the planner: keep it one plain query.
CREATE FUNCTION rollup_shares(l usage_log)
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
    SELECT v.level::smallint, v.org, v.hour::smallint, v.dimension, v.value, v.operation,
        v.provider, v.model
    FROM (
        VALUES
        (
            1, l.org, extract(HOUR FROM l.admit_time AT TIME ZONE 'UTC'), '', '',
            l.operation, l.provider, l.model
        ),
        (2, l.org, 0, '', '', l.operation, l.provider, l.model),
        (3, l.org, 0, 'api_key', nullif(l.api_key_id, ''), '', '', ''),
        (3, l.org, 0, 'feature', l.feature, '', '', ''),
        (3, l.org, 0, 'team', l.team, '', '', ''),
        (3, l.org, 0, 'user', l.user_name, '', '', ''),
        (4, '', 0, '', '', '', '', '')
    ) AS v (level, org, hour, dimension, value, operation, provider, model)
    WHERE v.value IS NOT NULL
    UNION ALL
    SELECT 3, l.org, 0, 'label.' || k.label, l.labels ->> k.label, '', '', ''
    FROM accounting.rolled_up_label AS k
    WHERE l.labels ? k.label AND l.admit_time >= k.since_day::timestamp AT TIME ZONE 'UTC'
$$;

-- Finds values that get no rollup of their own: the bound of distinct values of their dimension, org
-- and day is reached. Their calls go to the row of the empty value. Whoever brings a new value
-- locks the dimension's bound until the end of the transaction, so that the bound is exact and
-- every call of one value and day goes to one row.
CREATE FUNCTION bound_values(p_rows usage_log[], p_value_count_max integer)
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
        CROSS JOIN LATERAL rollup_shares(l) AS s
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
