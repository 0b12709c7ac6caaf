-- Months are closed: their statements do not change any more.

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
