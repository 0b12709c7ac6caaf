-- What calls cost: the usage log, its daily sums, and the prices that they are charged at.
--
-- Tables are here and, of the log, in log_schema.sql; shares.sql, rollups.sql and functions.sql have
-- the functions. The migrations
-- arrive at the same schema; a test compares them.
-- Text is compared by bytes (COLLATE "C"): one order for every server, and the cheapest.
-- Amounts are nano-US-dollars (1e-9 USD).

-- Units of one meter of one call: no call moves a billion tokens, so a day's sums fit bigint.
CREATE DOMAIN unit_count AS integer CHECK (value BETWEEN 0 AND 1000000000);

-- What one call costs at most: a billion dollars.
CREATE DOMAIN call_nanos AS bigint CHECK (value BETWEEN 0 AND 1000000000000000000);

-- Days whose log was verified, summed up and dropped.
CREATE TABLE sealed_day (
    day date NOT NULL,
    row_count bigint NOT NULL,
    call_count bigint NOT NULL,
    cost_nanos numeric NOT NULL,
    seal_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT sealed_day_key PRIMARY KEY (day)
);

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
    -- Baselines less costs, of calls with a baseline. NULL: there was none.
    saved_nanos numeric,
    -- Calls that a person approved before they were made.
    approved_count bigint NOT NULL DEFAULT 0,
    CONSTRAINT rollup_key PRIMARY KEY (
        level, org, day, hour, dimension, value, operation, provider, model
    )
) PARTITION BY LIST (level);

-- A day's rollups lie together, so that a small index finds them.
CREATE INDEX rollup_day_idx ON rollup USING brin (day) WITH (pages_per_range = 16);

CREATE TABLE rollup_org_hour PARTITION OF rollup FOR VALUES IN (1) WITH (fillfactor = 70);
CREATE TABLE rollup_org_day PARTITION OF rollup FOR VALUES IN (2) WITH (fillfactor = 70);
CREATE TABLE rollup_dimension_day PARTITION OF rollup FOR VALUES IN (3) WITH (fillfactor = 70);
-- One hot row: locked last, by every booking of the day.
CREATE TABLE rollup_platform_day PARTITION OF rollup FOR VALUES IN (4) WITH (fillfactor = 50);

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

-- One value of a dimension, on a day.
CREATE TYPE dimension_value AS (
    org text COLLATE "C",
    day date,
    dimension text COLLATE "C",
    value text COLLATE "C"
);

-- Counts changes of the prices. One row; whoever changes a price locks it first.
CREATE TABLE price_book (
    singleton boolean NOT NULL DEFAULT TRUE,
    version bigint NOT NULL,
    CONSTRAINT price_book_key PRIMARY KEY (singleton),
    CONSTRAINT price_book_singleton_check CHECK (singleton)
);

INSERT INTO price_book (version) VALUES (0);

-- One price of one model. Never changed, only ended: a call is priced at the version in which it
-- was admitted.
CREATE TABLE model_price (
    price_id bigint GENERATED ALWAYS AS IDENTITY,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    -- The org that an override is for. Empty: the platform.
    org text COLLATE "C" NOT NULL,
    -- catalogue: imported; override: written by staff, and wins.
    source text COLLATE "C" NOT NULL,
    -- Nano-US-dollars per million units by meter:
    -- {"input": {"nanos": 150000000, "tiers": [[200000, 300000000]]}}
    meters jsonb NOT NULL,
    -- Versions in which it binds: from this one on ...
    since_version bigint NOT NULL,
    -- ... up to the one before this. NULL: it is in force.
    until_version bigint,
    start_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    end_time timestamptz,
    -- Prices of tiers of service and hours of the day, in order. NULL: none.
    variants jsonb,
    -- The operation whose unpriced models it prices, flat; provider and model are empty then.
    operation text COLLATE "C" NOT NULL DEFAULT '',
    -- From when on the past is priced by it again, on demand. NULL: from its start.
    effective_time timestamptz,
    CONSTRAINT model_price_key PRIMARY KEY (price_id),
    CONSTRAINT model_price_source_check CHECK (
        source = 'override' OR (source = 'catalogue' AND org = '')
    ),
    CONSTRAINT model_price_end_check CHECK (
        (until_version IS NULL) = (end_time IS NULL) AND until_version > since_version
    )
);

-- At most one price of each source is in force for a model and org.
CREATE UNIQUE INDEX model_price_in_force_key
ON model_price (provider, model, org, source, operation)
WHERE until_version IS NULL;

-- Overrides that are to take effect later. Whoever sees that one is due makes it a price.
CREATE TABLE scheduled_price (
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    org text COLLATE "C" NOT NULL,
    operation text COLLATE "C" NOT NULL,
    effective_time timestamptz NOT NULL,
    meters jsonb NOT NULL,
    variants jsonb,
    audit_id text COLLATE "C" NOT NULL,
    CONSTRAINT scheduled_price_key PRIMARY KEY (provider, model, org, operation, effective_time)
);

-- Changes by staff, each written in the transaction that made it.
CREATE TABLE change_log (
    -- Id of the gateway's audit entry; also makes a change safe to repeat.
    audit_id text COLLATE "C" NOT NULL,
    -- What was changed, such as "price//openai/gpt-4o": org, provider, model.
    target text COLLATE "C" NOT NULL,
    -- Version of the price book that the change made.
    version bigint NOT NULL,
    -- NULL: it did not exist.
    before jsonb,
    -- NULL: it was ended.
    after jsonb,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT change_log_key PRIMARY KEY (audit_id, target)
);
