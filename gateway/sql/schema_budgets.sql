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
