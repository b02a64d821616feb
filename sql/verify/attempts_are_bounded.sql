-- title: No message had more attempts than its limit.
-- meaning: A message was run again after its last attempt.
-- scope: once
SELECT count(*) AS found, min(inbox_id::text) AS detail FROM service_ops.integration_inbox WHERE attempts > max_attempts
