-- Batches are locked by lock_batch_3 now.
DROP FUNCTION lock_batch_2 (bigint, bigint [], text [], uuid [], date [], uuid []);
