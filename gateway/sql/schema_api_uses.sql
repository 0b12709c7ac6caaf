-- How the API itself is used: RPCs of staff by day of UTC. Kept for 90 days.
CREATE TABLE api_use (
    day date NOT NULL,
    -- Its name alone, such as PutLimit.
    method text NOT NULL,
    -- Public part of a key, or id of staff. Empty: whoever was not let in.
    actor text NOT NULL,
    call_count bigint NOT NULL,
    -- Part of them that ended by what the caller did, and by what we did.
    refused_count bigint NOT NULL,
    failed_count bigint NOT NULL,
    PRIMARY KEY (day, method, actor)
) WITH (fillfactor = 70);
