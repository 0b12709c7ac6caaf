CREATE TABLE toy (
    toy_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL
);

CREATE FUNCTION count_toys() RETURNS bigint
LANGUAGE sql AS $$ SELECT count(*) FROM toy $$;
