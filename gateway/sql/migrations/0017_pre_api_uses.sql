-- How the API itself is used.
CREATE TABLE api_use (
    day date NOT NULL,
    method text NOT NULL,
    actor text NOT NULL,
    call_count bigint NOT NULL,
    refused_count bigint NOT NULL,
    failed_count bigint NOT NULL,
    PRIMARY KEY (day, method, actor)
) WITH (fillfactor = 70);
