-- Since when a provider refuses a credential; NULL: it does not.
ALTER TABLE circuit
ADD COLUMN refuse_time timestamptz;
