-- Servers book by book_calls now.
DROP FUNCTION record_usage;
DROP FUNCTION book_usage;
