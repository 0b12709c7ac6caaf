-- Whether events tell of requests for leave.
ALTER TABLE approval
ADD COLUMN request_told boolean NOT NULL DEFAULT FALSE,
ADD COLUMN decision_told boolean NOT NULL DEFAULT FALSE;

-- What no event tells of yet.
CREATE INDEX approval_untold ON approval (position)
WHERE NOT request_told OR (approved IS NOT NULL AND NOT decision_told);
