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
    -- Events tell of the request, and of the decision.
    request_told boolean NOT NULL DEFAULT FALSE,
    decision_told boolean NOT NULL DEFAULT FALSE,
    CONSTRAINT approval_call UNIQUE (org, call_id),
    CONSTRAINT approval_candidates CHECK (
        cardinality(providers) BETWEEN 1 AND 4 AND cardinality(providers) = cardinality(models)
    ),
    CONSTRAINT approval_decided CHECK ((approved IS NULL) = (decide_time IS NULL))
);

CREATE UNIQUE INDEX approval_position ON approval (position);

-- What waits for people, of which an org may have so many at once.
CREATE INDEX approval_pending ON approval (org, expire_time) WHERE approved IS NULL;

-- What no event tells of yet.
CREATE INDEX approval_untold ON approval (position)
WHERE NOT request_told OR (approved IS NOT NULL AND NOT decision_told);
