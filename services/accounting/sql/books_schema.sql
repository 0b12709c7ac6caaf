-- What is kept beside the log: feedback on calls, and the statements of closed months. The
-- migrations arrive at the same schema; a test compares them.

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

-- Months whose books are closed. What is booked for one later goes to the next that is closed.
CREATE TABLE closed_month (
    -- Its first day.
    month date NOT NULL,
    -- Id of the gateway's audit entry. Empty: the job closed it.
    audit_id text COLLATE "C" NOT NULL,
    close_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The transaction that closed it: nobody else adds to its statement.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT closed_month_key PRIMARY KEY (month),
    CONSTRAINT closed_month_first_day_check CHECK (extract(DAY FROM month) = 1)
);

-- What the statement of a closed month charges.
CREATE TABLE statement_line (
    month date NOT NULL,
    -- Month of the usage: this one, or an earlier one that was corrected after it was closed.
    usage_month date NOT NULL,
    org text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    call_count bigint NOT NULL,
    cost_nanos numeric NOT NULL,
    CONSTRAINT statement_line_key PRIMARY KEY (
        month, org, usage_month, operation, provider, model
    ),
    CONSTRAINT statement_line_month FOREIGN KEY (month) REFERENCES closed_month (month),
    CONSTRAINT statement_line_order_check CHECK (usage_month <= month)
);

-- Refuses every change of a closed month.
CREATE FUNCTION refuse_change_of_closed_month()
RETURNS trigger
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
AS $$
BEGIN
    IF tg_op = 'INSERT' AND EXISTS (
        SELECT 1 FROM closed_month AS c
        WHERE c.month = new.month AND c.xid = pg_current_xact_id()
    ) THEN
        RETURN new;
    END IF;
    RAISE EXCEPTION 'a closed month does not change'
        USING ERRCODE = 'restrict_violation', TABLE = tg_table_name;
END;
$$;

CREATE TRIGGER statement_line_stays
BEFORE INSERT OR UPDATE OR DELETE ON statement_line
FOR EACH ROW EXECUTE FUNCTION refuse_change_of_closed_month();

CREATE TRIGGER closed_month_stays
BEFORE UPDATE OR DELETE ON closed_month
FOR EACH ROW EXECUTE FUNCTION refuse_change_of_closed_month();

-- Closes a month, unless it is closed. Returns 1 if this transaction closed it, 2 if it was closed,
-- 3 if it has not ended, 4 if an earlier month with usage is still open.
CREATE FUNCTION close_month(p_month date, p_audit_id text)
RETURNS integer
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
AS $$
BEGIN
    IF (clock_timestamp() AT TIME ZONE 'UTC')::date < (p_month + interval '1 month')::date THEN
        RETURN 3;
    END IF;
    -- One month at a time; whoever closes the same one waits here and finds it closed.
    PERFORM pg_advisory_xact_lock(hashtextextended('accounting.closed_month', 0));
    IF EXISTS (SELECT 1 FROM closed_month AS c WHERE c.month >= p_month) THEN
        RETURN 2;
    END IF;
    IF EXISTS (
        SELECT 1 FROM rollup_platform_day AS r
        WHERE
            r.day < p_month
            AND r.day >= coalesce(
                (SELECT (max(c.month) + interval '1 month')::date FROM closed_month AS c),
                '-infinity'
            )
    ) THEN
        RETURN 4;
    END IF;
    INSERT INTO closed_month (month, audit_id) VALUES (p_month, p_audit_id);
    -- What the rollups say now, less what earlier statements charged: in one snapshot, so that no
    -- booking is charged twice or never.
    INSERT INTO statement_line (
        month, usage_month, org, operation, provider, model, call_count, cost_nanos
    )
    SELECT
        p_month, s.usage_month, s.org, s.operation, s.provider, s.model,
        sum(s.call_count), sum(s.cost_nanos)
    FROM (
        SELECT
            date_trunc('month', r.day)::date AS usage_month,
            r.org, r.operation, r.provider, r.model, r.call_count, r.cost_nanos
        FROM rollup_org_day AS r
        WHERE r.day < (p_month + interval '1 month')::date
        UNION ALL
        SELECT
            l.usage_month, l.org, l.operation, l.provider, l.model, -l.call_count, -l.cost_nanos
        FROM statement_line AS l
    ) AS s
    GROUP BY s.usage_month, s.org, s.operation, s.provider, s.model
    HAVING sum(s.call_count) <> 0 OR sum(s.cost_nanos) <> 0;
    RETURN 1;
END;
$$;
