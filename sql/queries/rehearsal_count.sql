-- name: rest
-- $1 sources that have a processor. Where what was committed is now; a source without one is done with in the inbox.
SELECT count(*)::integer AS written,
       count(*) FILTER (WHERE m.inbox_id IS NULL)::integer AS missing,
       count(*) FILTER (WHERE m.status IN ('NEW', 'PROCESSING') AND w.source = ANY ($1::text[]))::integer AS open,
       count(*) FILTER (WHERE m.status = 'FAILED' AND w.source = ANY ($1::text[]))::integer AS retrying
  FROM tidemark_rehearsal.written w
  LEFT JOIN service_ops.integration_inbox m ON m.source = w.source AND m.message_id = w.message_id;

-- name: missing
-- $1 source. Committed, meant to be taken in by the poller's condition, and not in the inbox.
SELECT w.message_id
  FROM tidemark_rehearsal.written w
 WHERE w.source = $1
   AND NOT EXISTS (SELECT FROM service_ops.integration_inbox m WHERE m.source = w.source AND m.message_id = w.message_id)
   AND NOT EXISTS (SELECT FROM :"table" tidemark_source WHERE tidemark_source.:"id"::text = w.message_id AND (:"where") IS NOT TRUE)
 ORDER BY w.written_at;

-- name: statuses
-- $1 source.
SELECT count(*)::integer AS written,
       count(m.inbox_id)::integer AS taken_in,
       count(*) FILTER (WHERE m.status = 'DONE')::integer AS done,
       count(*) FILTER (WHERE m.status = 'DEAD')::integer AS dead,
       count(*) FILTER (WHERE m.status = 'DISCARDED')::integer AS discarded,
       count(*) FILTER (WHERE m.status = 'FAILED')::integer AS retrying,
       count(*) FILTER (WHERE m.status IN ('NEW', 'PROCESSING'))::integer AS open
  FROM tidemark_rehearsal.written w
  LEFT JOIN service_ops.integration_inbox m ON m.source = w.source AND m.message_id = w.message_id
 WHERE w.source = $1;

-- name: stuck
-- $1 source. Neither finished nor waiting for another try.
SELECT w.message_id
  FROM tidemark_rehearsal.written w
  JOIN service_ops.integration_inbox m ON m.source = w.source AND m.message_id = w.message_id
 WHERE w.source = $1 AND m.status IN ('NEW', 'PROCESSING') ORDER BY w.written_at;

-- name: given_up
-- $1 source. Errors of what is DEAD, or waits for another try.
SELECT m.status, m.last_error AS error, count(*)::integer AS messages, min(m.message_id) AS example
  FROM tidemark_rehearsal.written w
  JOIN service_ops.integration_inbox m ON m.source = w.source AND m.message_id = w.message_id
 WHERE w.source = $1 AND m.status IN ('DEAD', 'DISCARDED', 'FAILED') GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 10;

-- name: effects
-- $1 source of a transactional processor. DONE without exactly one effect, and effects of what is not DONE.
SELECT m.message_id, count(e.source)::integer AS effects, m.status = 'DONE' AS done
  FROM service_ops.integration_inbox m
  LEFT JOIN tidemark_rehearsal.effect e ON e.source = m.source AND e.message_id = m.message_id
 WHERE m.source = $1
 GROUP BY m.inbox_id
HAVING count(e.source) <> CASE WHEN m.status = 'DONE' THEN 1 ELSE 0 END
 ORDER BY m.inbox_id;

-- name: runs
-- $1 source of an external processor. Messages that ran more than once although no run of theirs failed, or are DONE and
-- never ran. A run that its process did not live to end, or was told to end, is no failure of ours, but is counted apart.
SELECT m.message_id, count(r.run_id)::integer AS runs,
       EXISTS (SELECT FROM tidemark_rehearsal.cut_off k WHERE k.source = m.source AND k.message_id = m.message_id) AS cut_off,
       coalesce(bool_or(r.outcome = 'interrupted' OR r.outcome IS NULL) FILTER (WHERE r.run_id IS NOT NULL), false) AS interrupted
  FROM service_ops.integration_inbox m
  LEFT JOIN tidemark_rehearsal.handler_run r ON r.source = m.source AND r.message_id = m.message_id
 WHERE m.source = $1
 GROUP BY m.inbox_id
HAVING count(r.run_id) > 1 + count(*) FILTER (WHERE r.outcome = 'failed')
    OR (m.status = 'DONE' AND count(r.run_id) = 0)
 ORDER BY m.inbox_id;

-- name: burned
-- $1 source. Attempts that neither a failure of the handler nor the end of its process explains, by message.
SELECT m.message_id,
       m.attempts - (m.status = 'DONE')::integer
       - (SELECT count(*) FROM tidemark_rehearsal.handler_failure f WHERE f.source = m.source AND f.message_id = m.message_id)::integer
       - (SELECT count(*) FROM tidemark_rehearsal.cut_off k WHERE k.source = m.source AND k.message_id = m.message_id)::integer AS burned
  FROM service_ops.integration_inbox m
 WHERE m.source = $1 AND m.status <> 'PROCESSING' AND m.attempts > (m.status = 'DONE')::integer
   AND m.attempts - (m.status = 'DONE')::integer
     > (SELECT count(*) FROM tidemark_rehearsal.handler_failure f WHERE f.source = m.source AND f.message_id = m.message_id)
     + (SELECT count(*) FROM tidemark_rehearsal.cut_off k WHERE k.source = m.source AND k.message_id = m.message_id)
 ORDER BY m.inbox_id;

-- name: silence
-- $1 poller, $2 from, $3 to. Passes that were completed, and the longest time between the beginnings of two of them; what is
-- before the first and after the last counts too.
WITH p AS (
  SELECT r.started_at AS at FROM service_ops.poll_run r
   WHERE r.poller = $1 AND r.outcome IN ('ran', 'late', 'backstop') AND r.started_at BETWEEN $2::timestamptz AND $3::timestamptz),
g AS (
  SELECT x.at - lag(x.at) OVER (ORDER BY x.at) AS gap
    FROM (SELECT at FROM p UNION ALL SELECT $2::timestamptz UNION ALL SELECT $3::timestamptz) x)
SELECT (SELECT count(*) FROM p)::integer AS passes, round(extract(epoch FROM max(g.gap)) * 1000)::integer AS longest_ms FROM g;

-- name: changes
-- $1 from.
SELECT reason, count(*)::integer AS changes, round(max(gap_ms))::integer AS longest_ms
  FROM service_ops.leader_change WHERE at >= $1::timestamptz AND reason <> 'elected' GROUP BY reason ORDER BY reason;
