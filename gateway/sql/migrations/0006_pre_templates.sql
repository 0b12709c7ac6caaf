-- Fallback texts with variables, by locale. Each change is a row of its own: the newest revision of
-- a template is the template, the others are its history. Changes bump route_book's version, so
-- that one look tells a gateway whether to read routes and templates again.
CREATE TABLE template_revision (
    template_id text NOT NULL,
    revision integer NOT NULL CHECK (revision > 0),
    default_locale text NOT NULL,
    -- Values are escaped for HTML.
    is_html boolean NOT NULL,
    -- {locale: text}; the default locale is among them.
    texts jsonb NOT NULL,
    -- Since this revision there is no such template.
    deleted boolean NOT NULL DEFAULT FALSE,
    actor text NOT NULL,
    reason text NOT NULL,
    change_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (template_id, revision)
);
