-- lost: source rows that are not in the inbox and should be, and what was forgotten unread, as the invariants count them.
-- doubled: messages whose handler began more often than the end in DONE and the record of all other ends explain.
-- failed: FAILED and DEAD. waiting: what is to be done, now or at its next attempt.
SELECT (SELECT coalesce(sum(v.found), 0) FROM service_ops.verify() v WHERE v.name LIKE 'nothing\_%') AS lost,
       count(*) FILTER (WHERE m.attempts > 1 AND m.attempts > (m.status IN ('DONE', 'PROCESSING'))::integer
                          + (SELECT count(*) FROM service_ops.message_attempt a WHERE a.inbox_id = m.inbox_id)) AS doubled,
       count(*) FILTER (WHERE m.status IN ('FAILED', 'DEAD')) AS failed,
       count(*) FILTER (WHERE m.status IN ('NEW', 'FAILED')) AS waiting
  FROM service_ops.integration_inbox m
