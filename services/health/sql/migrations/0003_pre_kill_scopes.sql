-- Stops of a part of the calls, and stops that lift themselves.
ALTER TABLE kill_switch
ADD COLUMN scope jsonb NOT NULL DEFAULT '{}',
ADD COLUMN expire_time timestamptz,
ADD COLUMN set_by text NOT NULL DEFAULT '',
ADD COLUMN set_time timestamptz;
