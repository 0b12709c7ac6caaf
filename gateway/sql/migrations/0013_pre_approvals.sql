-- Calls that need a person's leave, and budget increases.
ALTER TABLE route
ADD COLUMN approval_required boolean NOT NULL DEFAULT FALSE,
ADD COLUMN approval_threshold_nanos bigint NOT NULL DEFAULT 0
CHECK (approval_threshold_nanos >= 0);

ALTER TABLE route_version
ADD COLUMN approval_required boolean NOT NULL DEFAULT FALSE,
ADD COLUMN approval_threshold_nanos bigint NOT NULL DEFAULT 0;

-- What people are asked about calls that need their leave, and what they said. A request holds nothing
-- in admission: it is this row alone, and it stays as history.
CREATE TABLE approval (
    approval_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    position bigint GENERATED ALWAYS AS IDENTITY,
    org text NOT NULL,
    -- The one call that it is for: asked for twice, it is the same request.
    call_id uuid NOT NULL,
    operation text NOT NULL,
    -- Public part of the API key that asks, and that alone may make the call.
    requester text NOT NULL,
    -- SHA-256 of all that the caller says of the call.
    subject bytea NOT NULL CHECK (octet_length(subject) = 32),
    summary text NOT NULL,
    -- 1: the operation needs it, 2: a toggle does, 3: the cost does.
    need integer NOT NULL CHECK (need BETWEEN 1 AND 3),
    -- The n-th provider with the n-th model: where the call may go.
    providers text[] NOT NULL,
    models text[] NOT NULL,
    cost_nanos_max bigint NOT NULL CHECK (cost_nanos_max >= 0),
    dimensions jsonb NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- From then on it is neither decided nor used.
    expire_time timestamptz NOT NULL,
    -- NULL: nobody has decided.
    approved boolean,
    decide_time timestamptz,
    decider text NOT NULL DEFAULT '',
    reason text NOT NULL DEFAULT '',
    -- Attempts that took the place of the call after it failed.
    attempt_ids uuid[] NOT NULL DEFAULT '{}',
    CONSTRAINT approval_call UNIQUE (org, call_id),
    CONSTRAINT approval_candidates CHECK (
        cardinality(providers) BETWEEN 1 AND 4 AND cardinality(providers) = cardinality(models)
    ),
    CONSTRAINT approval_decided CHECK ((approved IS NULL) = (decide_time IS NULL))
);

CREATE UNIQUE INDEX approval_position ON approval (position);

-- What waits for people, of which an org may have so many at once.
CREATE INDEX approval_pending ON approval (org, expire_time) WHERE approved IS NULL;

-- More room under limits, asked for by some and decided by others.
CREATE TABLE budget_increase (
    -- Chosen by whoever asks.
    increase_id uuid PRIMARY KEY,
    position bigint GENERATED ALWAYS AS IDENTITY,
    -- Empty: the platform.
    org text NOT NULL,
    limit_id text NOT NULL,
    -- Of the limit, a number of the contract's; gives the amount's unit.
    metric smallint NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    end_time timestamptz NOT NULL,
    reason text NOT NULL,
    requester text NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- NULL: nobody has decided.
    approved boolean,
    decide_time timestamptz,
    decider text NOT NULL DEFAULT '',
    decision_reason text NOT NULL DEFAULT '',
    CONSTRAINT budget_increase_decided CHECK ((approved IS NULL) = (decide_time IS NULL))
);

CREATE UNIQUE INDEX budget_increase_position ON budget_increase (position);
