-- Bounds are looked up by key, and histograms are made without a call.

CREATE OR REPLACE FUNCTION latency_weight(p_latency_ms integer)
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

DROP FUNCTION bound_values;

-- One value of a dimension, on a day.
CREATE TYPE dimension_value AS (
    org text COLLATE "C",
    day date,
    dimension text COLLATE "C",
    value text COLLATE "C"
);

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
