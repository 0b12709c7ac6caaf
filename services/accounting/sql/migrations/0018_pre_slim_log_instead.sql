-- Puts the slimmer log in the place of the log: bookings wait meanwhile, about ten seconds for each
-- million of calls. It keeps what servers of before call.

DROP FUNCTION add_to_rollups(usage_log[], integer);
DROP FUNCTION bound_values(usage_log[], integer);
DROP FUNCTION rollup_shares(usage_log);
DROP FUNCTION token_total(usage_log);
DROP FUNCTION book_usage;
ALTER FUNCTION book_usage_of_before RENAME TO book_usage;

ALTER TABLE usage_log RENAME TO usage_log_before;
ALTER INDEX usage_log_key RENAME TO usage_log_before_key;
ALTER INDEX usage_log_feed_idx RENAME TO usage_log_before_feed_idx;
ALTER VIEW usage_call RENAME TO usage_log;
ALTER INDEX usage_call_key RENAME TO usage_log_key;
ALTER INDEX usage_call_feed_idx RENAME TO usage_log_feed_idx;
SELECT setval('usage_log_row_id_seq', 1 + s.last_value % 2147483646)
FROM usage_log_row_id_seq AS s;
ALTER SEQUENCE usage_log_row_id_seq AS integer CYCLE;
ALTER TABLE usage_entry ALTER COLUMN row_id SET DEFAULT nextval('usage_log_row_id_seq');

-- What all rollups of a day should be.
CREATE OR REPLACE FUNCTION sum_log_day(p_day date)
RETURNS SETOF rollup
LANGUAGE sql
STABLE
SET search_path = accounting, pg_temp
AS $$
    SELECT
        s.level, s.org COLLATE "C", p_day, s.hour, s.dimension COLLATE "C",
        CASE WHEN b.is_reached AND r.org IS NULL THEN '' ELSE s.value END COLLATE "C",
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
    FROM usage_log AS l
    CROSS JOIN LATERAL rollup_shares(
        l.org, l.admit_time, l.labels, l.user_name, l.operation, l.provider, l.model, l.api_key_id,
        l.team, l.feature
    ) AS s
    LEFT JOIN dimension_bound AS b
        ON s.level = 3 AND b.org = s.org AND b.day = p_day AND b.dimension = s.dimension
    LEFT JOIN rollup_dimension_day AS r
        ON
            b.is_reached AND r.level = 3 AND r.org = s.org AND r.day = p_day AND r.hour = 0
            AND r.dimension = s.dimension AND r.value = s.value
    WHERE
        l.admit_time >= p_day::timestamp AT TIME ZONE 'UTC'
        AND l.admit_time < (p_day + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9;
$$;

-- Makes the day's partition of the usage log unless it is there, and says whether it is there now:
-- false if the day lies outside of the allowed distance from today. Inserts go on meanwhile: a
-- plain table is made and attached (CREATE ... PARTITION OF would block them).
CREATE OR REPLACE FUNCTION ensure_partition(p_day date, p_days_back integer, p_days_ahead integer)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = accounting, pg_temp
AS $$
DECLARE
    v_today date := (clock_timestamp() AT TIME ZONE 'UTC')::date;
    v_name text := 'usage_log_' || to_char(p_day, 'YYYYMMDD');
BEGIN
    IF p_day < v_today - p_days_back OR p_day > v_today + p_days_ahead THEN
        RETURN FALSE;
    END IF;
    -- Two who need the same day: the second waits here and then finds it. Nothing else is locked
    -- before, so the order is this lock, then the tables.
    PERFORM pg_advisory_xact_lock(hashtextextended('accounting.usage_log partitions', 0));
    IF EXISTS (
        SELECT 1
        FROM pg_inherits AS i
        INNER JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'usage_entry'::regclass AND c.relname = v_name
    ) THEN
        RETURN TRUE;
    END IF;
    EXECUTE format(
        'CREATE TABLE %I (LIKE usage_entry INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
        v_name
    );
    EXECUTE format(
        'ALTER TABLE usage_entry ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        v_name,
        p_day::timestamp AT TIME ZONE 'UTC',
        (p_day + 1)::timestamp AT TIME ZONE 'UTC'
    );
    RETURN TRUE;
END;
$$;

-- Corrects booked calls: appends to each the revision after the one that is known, or nothing if
-- there is a newer one already. Returns how many were corrected. The arrays are parallel.
CREATE OR REPLACE FUNCTION correct_usage(
    p_org text[],
    p_call_id uuid[],
    p_admit_time timestamptz[],
    p_revision integer[],
    p_total_nanos bigint[],
    p_cost_basis smallint[],
    p_price_version bigint[],
    p_note text,
    p_audit_id text,
    p_value_count_max integer
)
RETURNS integer
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
AS $$
DECLARE
    v_call_ids uuid[];
    v_admit_times timestamptz[];
    v_orgs text[];
    v_revisions smallint[];
    v_written usage_log[];
BEGIN
    WITH written AS (
        INSERT INTO usage_entry AS l (
            org, call_id, parent_call_id, admit_time, revision, kind_id, caller_id, labels,
            outcome, cost_basis, price_version, held_nanos, total_nanos, error_type,
            payload_digest, user_name, session, priority,
            held_token_count, service_tier, delta_nanos, unreported_delta_nanos,
            unreported_delta_count, corrected_token_count, note, audit_id, baseline_nanos
        )
        SELECT
            k.org, k.call_id, k.parent_call_id, k.admit_time, m.revision + 1, k.kind_id,
            k.caller_id, k.labels, k.outcome, m.cost_basis, m.price_version,
            k.held_nanos, m.total_nanos, k.error_type, k.payload_digest, k.user_name,
            k.session, k.priority, k.held_token_count, k.service_tier,
            m.total_nanos - k.total_nanos,
            CASE WHEN m.cost_basis = 2 THEN m.total_nanos ELSE 0 END
            - CASE WHEN k.cost_basis = 2 THEN k.total_nanos ELSE 0 END,
            (m.cost_basis = 2)::integer - (k.cost_basis = 2)::integer,
            token_total(k),
            p_note,
            p_audit_id,
            -- Marks that what it changes is saved, or not.
            k.baseline_nanos * 0
        FROM unnest(
            p_org, p_call_id, p_admit_time, p_revision, p_total_nanos, p_cost_basis,
            p_price_version
        ) AS m (org, call_id, admit_time, revision, total_nanos, cost_basis, price_version)
        CROSS JOIN LATERAL (
            SELECT * FROM usage_entry AS known
            WHERE
                known.org = m.org AND known.call_id = m.call_id
                AND known.admit_time = m.admit_time AND known.revision = m.revision
        ) AS k
        ORDER BY m.call_id, m.admit_time, m.org COLLATE "C"
        ON CONFLICT (call_id, admit_time, org, revision) DO NOTHING
        RETURNING l.call_id, l.admit_time, l.org, l.revision
    )
    SELECT array_agg(w.call_id), array_agg(w.admit_time), array_agg(w.org), array_agg(w.revision)
    INTO v_call_ids, v_admit_times, v_orgs, v_revisions
    FROM written AS w;
    SELECT array_agg(l) INTO v_written
    FROM unnest(v_call_ids, v_admit_times, v_orgs, v_revisions)
        AS w (call_id, admit_time, org, revision)
    INNER JOIN usage_log AS l
        ON
            l.call_id = w.call_id AND l.admit_time = w.admit_time AND l.org = w.org
            AND l.revision = w.revision;
    IF v_written IS NOT NULL THEN
        PERFORM add_to_rollups(v_written, p_value_count_max);
    END IF;
    RETURN coalesce(cardinality(v_written), 0);
END;
$$;

INSERT INTO call_kind (operation, provider, model)
SELECT DISTINCT b.operation, b.provider, b.model FROM usage_log_before AS b;

INSERT INTO caller (org, api_key_id, team, feature)
SELECT DISTINCT b.org, b.api_key_id, coalesce(b.team, ''), coalesce(b.feature, '')
FROM usage_log_before AS b;

DO $$
DECLARE
    v_name text;
    v_day date;
BEGIN
    FOR v_name IN
        SELECT c.relname FROM pg_inherits AS i
        INNER JOIN pg_class AS c ON i.inhrelid = c.oid
        WHERE i.inhparent = 'usage_log_before'::regclass
        ORDER BY 1
    LOOP
        v_day := to_date(right(v_name, 8), 'YYYYMMDD');
        EXECUTE format('ALTER TABLE %I RENAME TO %I', v_name, 'before_' || v_name);
        PERFORM ensure_partition(v_day, 100000, 100000);
    END LOOP;
END;
$$;

INSERT INTO usage_entry (
    kind_id, caller_id,
    admit_time, record_time, held_nanos, total_nanos, xid, row_id, price_version,
    input_token_count, output_token_count, cache_read_token_count, cache_write_5m_token_count,
    cache_write_1h_token_count, reasoning_token_count, latency_ms, revision, outcome, cost_basis,
    call_id, org, payload_digest, labels, parent_call_id, error_type, user_name, session, priority,
    held_token_count, service_tier, baseline_nanos, audio_input_token_count,
    audio_cache_read_token_count, audio_output_token_count, image_input_token_count,
    image_cache_read_token_count, image_output_token_count, image_count, character_count, audio_ms,
    video_ms, web_search_count, file_search_count, page_count, code_session_count, delta_nanos,
    unreported_delta_nanos, unreported_delta_count, corrected_token_count, note, audit_id,
    approved
)
SELECT
    k.kind_id, c.caller_id,
    b.admit_time, b.record_time, b.held_nanos, b.total_nanos, b.xid, b.row_id % 2147483647,
    b.price_version, b.input_token_count, b.output_token_count, b.cache_read_token_count,
    b.cache_write_5m_token_count, b.cache_write_1h_token_count, b.reasoning_token_count,
    b.latency_ms, b.revision, b.outcome, b.cost_basis, b.call_id, b.org,
    substr(b.payload_digest, 1, 8), b.labels, b.parent_call_id, b.error_type, b.user_name,
    b.session, b.priority, b.held_token_count, b.service_tier, b.baseline_nanos,
    b.audio_input_token_count, b.audio_cache_read_token_count, b.audio_output_token_count,
    b.image_input_token_count, b.image_cache_read_token_count, b.image_output_token_count,
    b.image_count, b.character_count, b.audio_ms, b.video_ms, b.web_search_count,
    b.file_search_count, b.page_count, b.code_session_count, b.delta_nanos,
    b.unreported_delta_nanos, b.unreported_delta_count, b.corrected_token_count, b.note,
    b.audit_id, b.approved
FROM usage_log_before AS b
INNER JOIN call_kind AS k
    ON b.operation = k.operation AND b.provider = k.provider AND b.model = k.model
INNER JOIN caller AS c
    ON
        b.org = c.org AND b.api_key_id = c.api_key_id AND coalesce(b.team, '') = c.team
        AND coalesce(b.feature, '') = c.feature
ORDER BY b.xid, b.row_id;

DROP TABLE usage_log_before;
