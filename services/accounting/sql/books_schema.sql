-- What is kept beside the log: feedback on calls. The migrations arrive at the same schema; a test
-- compares them.

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
