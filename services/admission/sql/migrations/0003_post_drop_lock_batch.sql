-- Batches are locked by lock_batch_2 now.
DROP FUNCTION lock_batch (bigint, bigint [], text [], uuid [], date [], uuid []);
