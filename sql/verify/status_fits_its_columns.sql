-- title: Locks, times and status of every message agree.
-- meaning: A message was changed by hand, or an outcome was written in part.
-- scope: once
SELECT count(*) AS found, min(inbox_id::text || ' ' || status) AS detail
  FROM service_ops.integration_inbox
 WHERE CASE status
         WHEN 'PROCESSING' THEN locked_by IS NULL OR processed_at IS NOT NULL
         WHEN 'DONE' THEN locked_at IS NOT NULL OR processed_at IS NULL OR next_attempt_at IS NOT NULL
         WHEN 'FAILED' THEN locked_by IS NOT NULL OR next_attempt_at IS NULL OR processed_at IS NOT NULL
         WHEN 'DEAD' THEN locked_by IS NOT NULL OR next_attempt_at IS NULL OR processed_at IS NOT NULL
         WHEN 'DISCARDED' THEN locked_by IS NOT NULL OR processed_at IS NULL
         ELSE locked_by IS NOT NULL OR processed_at IS NOT NULL END
