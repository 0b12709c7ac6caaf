-- name: audit_counters
-- Every counter whose sums differ from its calls; none, in every snapshot. Rolling windows are
-- audited slot by slot, and a bucket keeps no sums.
WITH open_sums AS (
    SELECT
        u.counter_id,
        count(*) AS calls,
        sum(r.held_nanos) AS nanos,
        sum(r.held_tokens) AS tokens
    FROM reservation AS r
    INNER JOIN counter_set AS s ON r.set_id = s.set_id
    CROSS JOIN LATERAL unnest(s.counter_ids) AS u (counter_id)
    GROUP BY u.counter_id
),

ended_sums AS (
    SELECT
        u.counter_id,
        count(*) FILTER (WHERE e.state NOT IN (3, 6)) AS calls,
        sum(e.settled_nanos) AS nanos,
        sum(e.settled_tokens) AS tokens
    FROM ended_reservation AS e
    INNER JOIN counter_set AS s ON e.set_id = s.set_id
    CROSS JOIN LATERAL unnest(s.counter_ids) AS u (counter_id)
    GROUP BY u.counter_id
),

expected AS (
    SELECT
        c.counter_id,
        coalesce(
            CASE c.metric WHEN 2 THEN o.nanos WHEN 3 THEN o.tokens ELSE o.calls END, 0
        ) AS held,
        c.archived + coalesce(
            CASE c.metric WHEN 1 THEN e.calls WHEN 2 THEN e.nanos WHEN 3 THEN e.tokens END, 0
        ) AS settled
    FROM counter AS c
    LEFT JOIN open_sums AS o ON c.counter_id = o.counter_id
    LEFT JOIN ended_sums AS e ON c.counter_id = e.counter_id
)

SELECT
    c.counter_id, c.scope::text AS scope, c.metric, c.held, c.settled,
    x.held::bigint AS expected_held, x.settled::bigint AS expected_settled
FROM counter AS c
INNER JOIN expected AS x ON c.counter_id = x.counter_id
WHERE
    c.window_kind NOT IN (2, 3)
    AND (
        c.held <> x.held OR c.settled <> x.settled
        OR c.settled + c.held > c.high_cap + c.overrun
    );

-- name: audit_rolling
-- Every slot of a rolling window whose sums differ from the calls admitted within it.
WITH slots AS (
    SELECT
        c.counter_id, c.scope, c.metric, c.length_us / c.slot_count AS slot_us, z.slot, z.held,
        z.settled
    FROM counter AS c
    CROSS JOIN LATERAL unnest(c.slot_indices, c.slot_held, c.slot_settled)
        AS z (slot, held, settled)
    WHERE c.window_kind = 2
),

calls AS (
    SELECT
        set_id, admit_time, held_nanos, held_tokens, 0 AS nanos, 0 AS tokens, 0 AS calls,
        TRUE AS is_open
    FROM reservation
    UNION ALL
    SELECT
        set_id, admit_time, 0, 0, settled_nanos, settled_tokens, (state NOT IN (3, 6))::integer,
        FALSE
    FROM ended_reservation
),

sums AS (
    SELECT
        t.counter_id, t.slot,
        sum(
            CASE t.metric WHEN 2 THEN k.held_nanos WHEN 3 THEN k.held_tokens ELSE 1 END
        ) FILTER (WHERE k.is_open) AS held,
        sum(CASE t.metric WHEN 2 THEN k.nanos WHEN 3 THEN k.tokens ELSE k.calls END) AS settled
    FROM slots AS t
    INNER JOIN counter_set AS s ON s.counter_ids @> ARRAY[t.counter_id]
    INNER JOIN calls AS k
        ON
            k.set_id = s.set_id
            AND floor(extract(EPOCH FROM k.admit_time) * 1000000 / t.slot_us) = t.slot
    GROUP BY t.counter_id, t.slot
)

SELECT
    t.counter_id, t.scope::text AS scope, t.metric, t.held, t.settled,
    coalesce(x.held, 0)::bigint AS expected_held,
    coalesce(x.settled, 0)::bigint AS expected_settled
FROM slots AS t
LEFT JOIN sums AS x ON t.counter_id = x.counter_id AND t.slot = x.slot
WHERE t.held <> coalesce(x.held, 0) OR t.settled <> coalesce(x.settled, 0);

-- name: audit_calls
-- Calls that are open and ended, or ended twice.
SELECT org, call_id
FROM (
    SELECT org, call_id FROM reservation
    UNION ALL
    SELECT org, call_id FROM ended_reservation
) AS k
GROUP BY k.org, k.call_id
HAVING count(*) > 1;

-- name: audit_expiry
-- Holds that outlived their time by more than the given one.
SELECT org, call_id FROM reservation WHERE expire_time < clock_timestamp() - $1::interval;

-- name: audit_sets
-- Calls whose set of counters, or one of its counters, is gone.
SELECT r.org, r.call_id
FROM reservation AS r
LEFT JOIN counter_set AS s ON r.set_id = s.set_id
WHERE
    s.set_id IS NULL
    OR EXISTS (
        SELECT FROM unnest(s.counter_ids) AS u (counter_id)
        WHERE NOT EXISTS (SELECT FROM counter AS c WHERE c.counter_id = u.counter_id)
    );

-- name: audit_overrun
-- What was charged beyond holds, by metric: allowed, counted and shown.
SELECT metric, sum(overrun) AS overrun, count(*) FILTER (WHERE overrun > 0) AS counter_count
FROM counter
GROUP BY metric;

-- name: put_audit_results!
INSERT INTO audit_result (guarantee, difference_count, audit_time)
SELECT n.guarantee, n.difference_count, clock_timestamp()
FROM unnest($1::smallint [], $2::bigint []) AS n (guarantee, difference_count)
ORDER BY n.guarantee
ON CONFLICT (guarantee) DO UPDATE SET
difference_count = excluded.difference_count, audit_time = excluded.audit_time;

-- name: select_audit_results
SELECT guarantee, difference_count, audit_time FROM audit_result ORDER BY guarantee;
