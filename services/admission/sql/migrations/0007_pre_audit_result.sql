-- What the last audit found, for the metrics of the servers: a job has no page of its own.
CREATE TABLE audit_result (
    guarantee smallint PRIMARY KEY,
    difference_count bigint NOT NULL,
    audit_time timestamptz NOT NULL
);
