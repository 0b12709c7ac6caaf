-- Events, alerts, and the channels that hear of them.

-- The outbox: what happened, written in the transaction that caused it, for ever as it was written.
CREATE TABLE event (
    event_id uuid NOT NULL,
    -- Name in the catalogue, such as "cost.budget.warning".
    type text COLLATE "C" NOT NULL,
    -- Version of the type's data.
    type_version smallint NOT NULL,
    -- 1 information, 2 warning, 3 critical.
    severity smallint NOT NULL,
    -- Empty: the platform.
    org text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    title text NOT NULL,
    data jsonb NOT NULL,
    -- NULL: no alert.
    alert_id bigint,
    -- A mute kept it from all channels.
    muted boolean NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Writing transaction: with event_number the order of the feed.
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    event_number bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT event_key PRIMARY KEY (event_id)
);

-- The feed reads in this order.
CREATE INDEX event_feed_idx ON event (xid, event_number);

-- Lists read downwards.
CREATE UNIQUE INDEX event_number_key ON event (event_number);

-- Conditions that are wrong until they are resolved.
CREATE TABLE alert (
    alert_id bigint GENERATED ALWAYS AS IDENTITY,
    -- Names the condition, such as "unpriced/openai/gpt-9".
    alert_key text COLLATE "C" NOT NULL,
    -- The key never comes back: a threshold of a limit in one period.
    once boolean NOT NULL,
    type text COLLATE "C" NOT NULL,
    severity smallint NOT NULL,
    -- 1 open, 2 acknowledged, 3 resolved.
    state smallint NOT NULL DEFAULT 1,
    org text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    title text NOT NULL,
    data jsonb NOT NULL,
    occurrence_count bigint NOT NULL DEFAULT 1,
    first_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    notify_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    acknowledge_time timestamptz,
    acknowledged_by text COLLATE "C" NOT NULL DEFAULT '',
    -- From then on it resolves by itself. NULL: it does not by time.
    expire_time timestamptz,
    resolve_time timestamptz,
    resolved_by text COLLATE "C" NOT NULL DEFAULT '',
    CONSTRAINT alert_pkey PRIMARY KEY (alert_id),
    CONSTRAINT alert_state_check CHECK (state IN (1, 2, 3)),
    CONSTRAINT alert_resolve_check CHECK ((state = 3) = (resolve_time IS NOT NULL))
);

-- One alert for a condition, whoever notices it: at a time, or for ever.
CREATE UNIQUE INDEX alert_condition_key ON alert (alert_key) WHERE once OR state <> 3;

-- Those that resolve by time.
CREATE INDEX alert_expire_idx ON alert (expire_time) WHERE state <> 3;

-- What was done to alerts, in the transaction that did it.
CREATE TABLE alert_change (
    change_id bigint GENERATED ALWAYS AS IDENTITY,
    alert_id bigint NOT NULL,
    -- 1 raised, 2 repeated, 3 escalated, 4 acknowledged, 5 resolved.
    action smallint NOT NULL,
    -- Empty: Headgate itself.
    actor text COLLATE "C" NOT NULL,
    note text NOT NULL,
    -- Id of the gateway's audit entry. Empty: nobody asked for it.
    audit_id text COLLATE "C" NOT NULL,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT alert_change_key PRIMARY KEY (alert_id, change_id),
    CONSTRAINT alert_change_alert FOREIGN KEY (alert_id) REFERENCES alert (alert_id)
);

-- What no channel shall hear of for a while.
CREATE TABLE alert_mute (
    mute_id uuid NOT NULL,
    -- A type, or its beginning up to a dot. Empty: all.
    type text COLLATE "C" NOT NULL,
    -- Empty: all, in the next two.
    org text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    expire_time timestamptz NOT NULL,
    reason text NOT NULL,
    actor text COLLATE "C" NOT NULL,
    audit_id text COLLATE "C" NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT alert_mute_key PRIMARY KEY (mute_id)
);

-- Where events go.
CREATE TABLE channel (
    -- Empty: the platform.
    org text COLLATE "C" NOT NULL,
    channel_id text COLLATE "C" NOT NULL,
    -- 1 webhook, 2 apprise.
    kind smallint NOT NULL,
    -- Encrypted, with the id of the key: where events go, and what signs them.
    sealed_url bytea NOT NULL,
    -- Newest first. Of a webhook only.
    sealed_secrets bytea [] NOT NULL,
    -- For people: without secrets.
    shown_url text NOT NULL,
    -- Empty: all types.
    types text [] COLLATE "C" NOT NULL,
    severity_min smallint NOT NULL,
    -- NULL in all three: no quiet hours.
    quiet_start_minute smallint,
    quiet_end_minute smallint,
    quiet_time_zone text COLLATE "C",
    paused boolean NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    deliver_time timestamptz,
    failure_count bigint NOT NULL DEFAULT 0,
    CONSTRAINT channel_key PRIMARY KEY (org, channel_id),
    CONSTRAINT channel_quiet_check CHECK (
        (quiet_start_minute IS NULL) = (quiet_end_minute IS NULL)
        AND (quiet_start_minute IS NULL) = (quiet_time_zone IS NULL)
    )
);

-- Changes of channels by staff, without secrets, each in the transaction that made it.
CREATE TABLE channel_change (
    audit_id text COLLATE "C" NOT NULL,
    org text COLLATE "C" NOT NULL,
    channel_id text COLLATE "C" NOT NULL,
    -- NULL: it did not exist.
    before jsonb,
    -- NULL: it was deleted.
    after jsonb,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT channel_change_key PRIMARY KEY (audit_id, org, channel_id)
);

-- One event on its way to one channel. Made in the event's own transaction.
CREATE TABLE delivery (
    delivery_id bigint GENERATED ALWAYS AS IDENTITY,
    event_id uuid NOT NULL,
    org text COLLATE "C" NOT NULL,
    channel_id text COLLATE "C" NOT NULL,
    -- 1 waiting, 2 delivered, 3 dead.
    state smallint NOT NULL DEFAULT 1,
    -- Grows with each claim: whoever claimed it last may write down how it went.
    attempt_count integer NOT NULL DEFAULT 0,
    -- When it may be claimed. A claim moves it ahead by the lease: a claimer that dies is replaced.
    due_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    error text NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    end_time timestamptz,
    CONSTRAINT delivery_key PRIMARY KEY (delivery_id),
    CONSTRAINT delivery_event FOREIGN KEY (event_id) REFERENCES event (event_id),
    CONSTRAINT delivery_channel FOREIGN KEY (org, channel_id)
    REFERENCES channel (org, channel_id) ON DELETE CASCADE,
    CONSTRAINT delivery_state_check CHECK (state IN (1, 2, 3)),
    CONSTRAINT delivery_end_check CHECK ((state = 1) = (end_time IS NULL))
);

-- An event goes to a channel once, whoever writes it.
CREATE UNIQUE INDEX delivery_event_key ON delivery (event_id, org, channel_id);

-- What waits, by channel.
CREATE INDEX delivery_due_idx ON delivery (org, channel_id, due_time) WHERE state = 1;

-- How far feeds have been read, in the transaction that wrote what came of it.
CREATE TABLE feed_cursor (
    -- "crossings" of admission, "usage" of our own log.
    feed text COLLATE "C" NOT NULL,
    transaction_id bigint NOT NULL DEFAULT 0,
    row_id bigint NOT NULL DEFAULT 0,
    CONSTRAINT feed_cursor_key PRIMARY KEY (feed)
);

INSERT INTO feed_cursor (feed) VALUES ('crossings'), ('usage');
