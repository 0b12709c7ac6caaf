-- Each limit knows since which version it is so, and a writer may ask for that version.
ALTER TABLE limit_rule ADD COLUMN version bigint NOT NULL DEFAULT 1;
