-- Room for every meter, dimension and correction in the log, and for rollups by hour and dimension.

CREATE DOMAIN unit_count AS integer CHECK (value BETWEEN 0 AND 1000000000);

-- Half the bytes; the log is small yet.
ALTER TABLE usage_log
    ALTER COLUMN input_token_count TYPE unit_count,
    ALTER COLUMN cache_read_token_count TYPE unit_count,
    ALTER COLUMN cache_write_5m_token_count TYPE unit_count,
    ALTER COLUMN cache_write_1h_token_count TYPE unit_count,
    ALTER COLUMN output_token_count TYPE unit_count,
    ALTER COLUMN reasoning_token_count TYPE unit_count;

DROP DOMAIN token_count;

ALTER TABLE usage_log
    ADD COLUMN team text COLLATE "C",
    ADD COLUMN user_name text COLLATE "C",
    ADD COLUMN session text COLLATE "C",
    ADD COLUMN feature text COLLATE "C",
    ADD COLUMN priority smallint,
    ADD COLUMN held_token_count bigint,
    ADD COLUMN service_tier text COLLATE "C",
    ADD COLUMN baseline_nanos bigint,
    ADD COLUMN audio_input_token_count unit_count,
    ADD COLUMN audio_cache_read_token_count unit_count,
    ADD COLUMN audio_output_token_count unit_count,
    ADD COLUMN image_input_token_count unit_count,
    ADD COLUMN image_cache_read_token_count unit_count,
    ADD COLUMN image_output_token_count unit_count,
    ADD COLUMN image_count unit_count,
    ADD COLUMN character_count unit_count,
    ADD COLUMN audio_ms unit_count,
    ADD COLUMN video_ms unit_count,
    ADD COLUMN web_search_count unit_count,
    ADD COLUMN file_search_count unit_count,
    ADD COLUMN page_count unit_count,
    ADD COLUMN code_session_count unit_count,
    ADD COLUMN delta_nanos bigint,
    ADD COLUMN unreported_delta_nanos bigint,
    ADD COLUMN unreported_delta_count smallint,
    ADD COLUMN corrected_token_count bigint,
    ADD COLUMN note text COLLATE "C",
    ADD COLUMN audit_id text COLLATE "C";

-- Labels whose values have rollups, from a day on.
CREATE TABLE rolled_up_label (
    label text COLLATE "C" NOT NULL,
    since_day date NOT NULL,
    CONSTRAINT rolled_up_label_key PRIMARY KEY (label)
);

INSERT INTO rolled_up_label (label, since_day) VALUES
('agent', '-infinity'), ('phase', '-infinity'), ('ticket', '-infinity');

-- Sums of the log, written in the log's own transaction. Sparse. Costs are numeric: a sum must never
-- fail for being too large, or nobody could record.
CREATE TABLE rollup (
    -- 1 an org's hour, 2 an org's day, 3 a value of a dimension on an org's day, 4 the platform's day.
    level smallint NOT NULL,
    -- Empty: the platform.
    org text COLLATE "C" NOT NULL,
    -- Day of admission in UTC.
    day date NOT NULL,
    -- 0 to 23; 0 for a whole day.
    hour smallint NOT NULL,
    -- "user", "team", "api_key", "feature" or "label.KEY". Empty but on level 3.
    dimension text COLLATE "C" NOT NULL,
    -- Empty on level 3: all values beyond the bound of distinct ones, together.
    value text COLLATE "C" NOT NULL,
    -- Empty on levels 3 and 4, as provider and model.
    operation text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    call_count bigint NOT NULL DEFAULT 0,
    -- Calls whose outcome was not success.
    failed_count bigint NOT NULL DEFAULT 0,
    -- Calls charged at their hold, and what they were charged.
    unreported_count bigint NOT NULL DEFAULT 0,
    cost_nanos numeric NOT NULL DEFAULT 0,
    unreported_cost_nanos numeric NOT NULL DEFAULT 0,
    -- NULL: no call had a baseline.
    baseline_nanos numeric,
    -- Calls that succeeded, by latency; see latency_weight.
    latency_histogram numeric NOT NULL DEFAULT 0,
    input_token_count bigint NOT NULL DEFAULT 0,
    cache_read_token_count bigint NOT NULL DEFAULT 0,
    cache_write_5m_token_count bigint NOT NULL DEFAULT 0,
    cache_write_1h_token_count bigint NOT NULL DEFAULT 0,
    output_token_count bigint NOT NULL DEFAULT 0,
    reasoning_token_count bigint NOT NULL DEFAULT 0,
    -- Meters that few calls have. NULL: none reported it.
    audio_input_token_count bigint,
    audio_cache_read_token_count bigint,
    audio_output_token_count bigint,
    image_input_token_count bigint,
    image_cache_read_token_count bigint,
    image_output_token_count bigint,
    image_count bigint,
    character_count bigint,
    audio_ms bigint,
    video_ms bigint,
    web_search_count bigint,
    file_search_count bigint,
    page_count bigint,
    code_session_count bigint,
    CONSTRAINT rollup_key PRIMARY KEY (
        level, org, day, hour, dimension, value, operation, provider, model
    )
) PARTITION BY LIST (level);

-- A day's rollups lie together, so that a small index finds them.
CREATE INDEX rollup_day_idx ON rollup USING brin (day) WITH (pages_per_range = 16);

CREATE TABLE rollup_org_hour PARTITION OF rollup FOR VALUES IN (1) WITH (fillfactor = 70);
CREATE TABLE rollup_dimension_day PARTITION OF rollup FOR VALUES IN (3) WITH (fillfactor = 70);

-- How many distinct values have a rollup of their own. Locked by whoever brings a new one.
CREATE TABLE dimension_bound (
    org text COLLATE "C" NOT NULL,
    day date NOT NULL,
    dimension text COLLATE "C" NOT NULL,
    value_count integer NOT NULL DEFAULT 0,
    -- True: there were more values, whose calls are summed together.
    is_reached boolean NOT NULL DEFAULT FALSE,
    CONSTRAINT dimension_bound_key PRIMARY KEY (org, day, dimension)
);
