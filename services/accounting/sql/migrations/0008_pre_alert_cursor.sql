-- The log is looked through for faults from now on: what is in it already is no news.
UPDATE feed_cursor
SET transaction_id = pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1
WHERE feed = 'usage' AND transaction_id = 0;
