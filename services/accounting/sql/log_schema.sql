-- The usage log, and the names that its rows share.

-- Breaks ties between rows of one transaction in the settlement feed; so it may begin again.
CREATE SEQUENCE usage_log_row_id_seq AS integer CACHE 1 CYCLE;

-- What was done and by which model: the names that most calls share are written once.
CREATE TABLE call_kind (
    kind_id integer GENERATED ALWAYS AS IDENTITY,
    operation text COLLATE "C" NOT NULL,
    provider text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    CONSTRAINT call_kind_id_key PRIMARY KEY (kind_id),
    CONSTRAINT call_kind_key UNIQUE (operation, provider, model)
);

-- Who called. Never changed and never deleted, as kinds: rows of the log name them.
CREATE TABLE caller (
    caller_id integer GENERATED ALWAYS AS IDENTITY,
    org text COLLATE "C" NOT NULL,
    -- Public part of the API key. Empty, here as below: not known.
    api_key_id text COLLATE "C" NOT NULL,
    team text COLLATE "C" NOT NULL,
    feature text COLLATE "C" NOT NULL,
    CONSTRAINT caller_id_key PRIMARY KEY (caller_id),
    CONSTRAINT caller_key UNIQUE (org, api_key_id, team, feature)
);

-- One row for each attempt that ended, for ever as it was written; a correction is a new revision.
-- Partitioned by the day of admission in UTC, so that a report that is repeated after midnight
-- meets the row that it wrote before. Partitions are named usage_log_YYYYMMDD. Wide columns come
-- first, so that none is padded. Read it by the view usage_log, which has the names.
CREATE TABLE usage_entry (
    admit_time timestamptz NOT NULL,
    record_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    held_nanos call_nanos NOT NULL,
    total_nanos call_nanos NOT NULL,
    -- Writing transaction: with row_id the order of the settlement feed.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    row_id integer NOT NULL DEFAULT nextval('usage_log_row_id_seq'),
    kind_id integer NOT NULL,
    caller_id integer NOT NULL,
    -- Version of the price book that priced it.
    price_version integer NOT NULL,
    -- Disjoint meters. NULL: not reported, which is not zero.
    input_token_count unit_count,
    output_token_count unit_count,
    cache_read_token_count unit_count,
    cache_write_5m_token_count unit_count,
    cache_write_1h_token_count unit_count,
    reasoning_token_count unit_count,
    -- From sending to the last byte. NULL: not known.
    latency_ms integer,
    -- 1 for the first row of an attempt.
    revision smallint NOT NULL DEFAULT 1,
    -- 1 succeeded, 2 provider failed, 3 rejected, 4 aborted, 5 throttled.
    outcome smallint NOT NULL,
    -- 1 the meters, 2 the hold, 3 nothing was used, 4 staff said how much. Charged at the hold
    -- although meters are set: usage was reported that had no price.
    cost_basis smallint NOT NULL,
    call_id uuid NOT NULL,
    org text COLLATE "C" NOT NULL,
    -- First 8 bytes of the SHA-256 of the report; tells a repeated one from another with the same
    -- id. A correction repeats it.
    payload_digest bytea NOT NULL,
    -- NULL: none.
    labels jsonb,
    -- The first attempt's id, when this one replaced an attempt that failed.
    parent_call_id uuid,
    -- Low-cardinality class of the error. NULL: none.
    error_type text COLLATE "C",
    -- What else the caller said of the call. NULL: nothing.
    user_name text COLLATE "C",
    session text COLLATE "C",
    priority smallint,
    -- Tokens that were held. NULL: not known.
    held_token_count bigint,
    -- The provider's tier of service, such as "batch". NULL: the standard one.
    service_tier text COLLATE "C",
    -- What the call would have cost with the baseline's model. NULL: there is no baseline. 0 in a
    -- correction of a call that has one.
    baseline_nanos bigint,
    -- Meters that few calls have.
    audio_input_token_count unit_count,
    audio_cache_read_token_count unit_count,
    audio_output_token_count unit_count,
    image_input_token_count unit_count,
    image_cache_read_token_count unit_count,
    image_output_token_count unit_count,
    image_count unit_count,
    character_count unit_count,
    audio_ms unit_count,
    video_ms unit_count,
    web_search_count unit_count,
    file_search_count unit_count,
    page_count unit_count,
    code_session_count unit_count,
    -- What a correction (a revision after the first) changes: the total, ...
    delta_nanos bigint,
    -- ... the part of it that is charged at the hold, and the count of such calls. NULL otherwise.
    unreported_delta_nanos bigint,
    unreported_delta_count smallint,
    -- Tokens after a correction, for limits of tokens.
    corrected_token_count bigint,
    -- Why it was corrected or booked by hand, and who did: the id of the gateway's audit entry.
    note text COLLATE "C",
    audit_id text COLLATE "C",
    -- TRUE: a person approved the call before it was made. NULL: nobody did.
    approved boolean,
    -- Ids grow with time, so new ones go to the end of the index, and its pages are full.
    CONSTRAINT usage_log_key PRIMARY KEY (call_id, admit_time, org, revision)
) PARTITION BY RANGE (admit_time);

-- The settlement feed reads in this order. A batch has one transaction: its rows share an entry.
CREATE INDEX usage_log_feed_idx ON usage_entry (xid);

-- An org's calls share entries, too.
CREATE INDEX usage_log_org_idx ON usage_entry (org);

-- Tokens of all kinds that a call used, as far as reported. NULL: nobody said.
CREATE FUNCTION token_total(l usage_entry)
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

-- The log as it is read. Outer joins, so that names are looked up for rows, whatever the planner
-- believes: never rows for each name.
CREATE VIEW usage_log AS
SELECT
    e.org,
    e.call_id,
    e.parent_call_id,
    e.revision,
    e.admit_time,
    e.record_time,
    k.operation,
    k.provider,
    k.model,
    -- Empty: not known.
    c.api_key_id,
    e.labels,
    e.outcome,
    e.cost_basis,
    e.price_version,
    e.held_nanos,
    e.total_nanos,
    e.input_token_count,
    e.cache_read_token_count,
    e.cache_write_5m_token_count,
    e.cache_write_1h_token_count,
    e.output_token_count,
    e.reasoning_token_count,
    e.latency_ms,
    e.error_type,
    e.payload_digest,
    e.xid,
    e.row_id,
    nullif(c.team, '') AS team,
    e.user_name,
    e.session,
    nullif(c.feature, '') AS feature,
    e.priority,
    e.held_token_count,
    e.service_tier,
    e.baseline_nanos,
    e.audio_input_token_count,
    e.audio_cache_read_token_count,
    e.audio_output_token_count,
    e.image_input_token_count,
    e.image_cache_read_token_count,
    e.image_output_token_count,
    e.image_count,
    e.character_count,
    e.audio_ms,
    e.video_ms,
    e.web_search_count,
    e.file_search_count,
    e.page_count,
    e.code_session_count,
    e.delta_nanos,
    e.unreported_delta_nanos,
    e.unreported_delta_count,
    e.corrected_token_count,
    e.note,
    e.audit_id,
    e.approved,
    e.kind_id,
    e.caller_id,
    token_total(e) AS token_count
FROM usage_entry AS e
LEFT JOIN call_kind AS k ON e.kind_id = k.kind_id
LEFT JOIN caller AS c ON e.caller_id = c.caller_id;

-- Returns the ids of kinds and callers, in order, and writes down those that are new. Their keys are
-- locked in order, before any other: they are the first thing that a booking needs.
CREATE FUNCTION name_calls(
    p_operation text[],
    p_provider text[],
    p_model text[],
    p_org text[],
    p_api_key_id text[],
    p_team text[],
    p_feature text[],
    OUT kind_ids integer[],
    OUT caller_ids integer[]
)
LANGUAGE plpgsql
SET search_path = accounting, pg_temp
-- Every look-up is by key, whatever the planner believed when the tables were empty.
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_again boolean := FALSE;
BEGIN
    LOOP
        SELECT
            array_agg(k.kind_id ORDER BY m.place), array_agg(c.caller_id ORDER BY m.place)
        INTO kind_ids, caller_ids
        FROM unnest(
            p_operation, p_provider, p_model, p_org, p_api_key_id, p_team, p_feature
        ) WITH ORDINALITY AS m (
            operation, provider, model, org, api_key_id, team, feature, place
        )
        LEFT JOIN call_kind AS k
            ON
                k.operation = m.operation AND k.provider = m.provider
                AND k.model = m.model
        LEFT JOIN caller AS c
            ON
                c.org = m.org AND c.api_key_id = m.api_key_id
                AND c.team = coalesce(m.team, '') AND c.feature = coalesce(m.feature, '');
        EXIT WHEN v_again OR array_position(kind_ids || caller_ids, NULL) IS NULL;
        v_again := TRUE;
        INSERT INTO call_kind (operation, provider, model)
        SELECT DISTINCT m.operation COLLATE "C", m.provider COLLATE "C", m.model COLLATE "C"
        FROM unnest(kind_ids, p_operation, p_provider, p_model)
            AS m (kind_id, operation, provider, model)
        WHERE m.kind_id IS NULL
        ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING;
        INSERT INTO caller (org, api_key_id, team, feature)
        SELECT DISTINCT
            m.org COLLATE "C", m.api_key_id COLLATE "C", coalesce(m.team, '') COLLATE "C",
            coalesce(m.feature, '') COLLATE "C"
        FROM unnest(caller_ids, p_org, p_api_key_id, p_team, p_feature)
            AS m (caller_id, org, api_key_id, team, feature)
        WHERE m.caller_id IS NULL
        ORDER BY 1, 2, 3, 4
        ON CONFLICT DO NOTHING;
    END LOOP;
END;
$$;
