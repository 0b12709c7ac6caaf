-- Names that many calls share, to be written once.

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
