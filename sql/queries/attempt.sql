-- Claims that did not end in DONE. Whoever writes here has the message's own row locked.

-- name: write
-- The end of a statement whose `ended` has what became of claims of $1, an instance.
-- Writes down what `ended` has, and forgets all but the newest 50 of a message: interruptions may go on for ever. A conflict would
-- be a claim that a crashed server had forgotten, under the same number; it must never hold up an outcome.
kept AS (
  INSERT INTO service_ops.message_attempt (inbox_id, claim, attempt, started_at, ended_at, instance_id, outcome, error)
  SELECT e.inbox_id, e.claim, e.attempt, e.started_at, e.ended_at, $1, e.outcome, e.error FROM ended e
  ON CONFLICT (inbox_id, claim) DO NOTHING),
old AS (
  DELETE FROM service_ops.message_attempt a USING ended e
   WHERE a.inbox_id = ANY (ARRAY(SELECT e.inbox_id FROM ended e WHERE e.claim > 50)) AND a.inbox_id = e.inbox_id AND a.claim <= e.claim - 50)

-- name: of_messages
-- $1 inbox_ids. In order.
SELECT a.inbox_id, a.claim, a.attempt, a.instance_id, a.outcome, a.error,
       to_char(a.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS started_at,
       to_char(a.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS ended_at
  FROM service_ops.message_attempt a WHERE a.inbox_id = ANY ($1::bigint[]) ORDER BY a.inbox_id, a.claim;

-- name: forget_orphans
-- $1 look after this message, $2 at so many attempts. Deletes those whose message is gone: a release from before this table forgets
-- messages without them. A message that is there stays so for whoever adds an attempt, since that has its row locked; and numbers
-- of messages are never used twice. The look into the inbox is LATERAL, so that it stays a probe for each, whatever the statistics.
WITH looked AS MATERIALIZED (
  SELECT a.inbox_id FROM service_ops.message_attempt a WHERE a.inbox_id > $1::bigint ORDER BY a.inbox_id, a.claim LIMIT $2::integer),
gone AS MATERIALIZED (
  SELECT l.inbox_id
    FROM (SELECT DISTINCT looked.inbox_id FROM looked) l
    LEFT JOIN LATERAL (SELECT true AS hit FROM service_ops.integration_inbox m WHERE m.inbox_id = l.inbox_id LIMIT 1) x ON true
   WHERE x.hit IS NULL),
d AS (DELETE FROM service_ops.message_attempt a WHERE a.inbox_id = ANY (ARRAY(SELECT gone.inbox_id FROM gone)) RETURNING 1)
SELECT (SELECT count(*) FROM d) AS forgotten, (SELECT max(looked.inbox_id) FROM looked) AS up_to;
