-- Answers of the HTTP face that are given again to whoever repeats a request with its key.
CREATE TABLE http_answer (
    digest bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    request_digest bytea NOT NULL CHECK (octet_length(request_digest) = 32),
    begin_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    answer bytea CHECK (octet_length(answer) <= 262144)
);

CREATE INDEX http_answer_begin_time_idx ON http_answer (begin_time);
