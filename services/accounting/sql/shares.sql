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
