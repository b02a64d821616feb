-- Who runs which job: service_ops.job_claim beside pg-boss's own rows (tied to the pinned version as boss.sql is).
-- Locks are taken in one order: the job's row, then its claim.

-- name: claim
-- $1 queue, $2 id, $3 retry_count, $4 instance. No row: the attempt is not ours any more, its handler must not begin. The
-- heartbeat makes a new version of the job's row: who was about to give back an attempt that nobody had claimed looks at
-- that again, and finds it young.
WITH mine AS (
  UPDATE pgboss.job AS j SET heartbeat_on = pgboss.job_now()
   WHERE j.name = $1 AND j.id = $2::uuid AND j.state = 'active' AND j.retry_count = $3::integer
  RETURNING j.id)
INSERT INTO service_ops.job_claim AS c (queue, job_id, retry_count, locked_by, claimed_at)
SELECT $1, mine.id, $3::integer, $4, clock_timestamp() FROM mine
ON CONFLICT (queue, job_id) DO UPDATE
   SET retry_count = EXCLUDED.retry_count, locked_by = EXCLUDED.locked_by, claimed_at = EXCLUDED.claimed_at
RETURNING c.deaths;

-- name: settled
-- $1 queues, $2 ids, $3 retry_counts: attempts of one instance that have ended, $4 that instance. Deletes the claims of those
-- that are settled; gives back those that are not yet, by their place in the lists, from 1.
WITH ended AS (
  SELECT * FROM unnest($1::text[], $2::uuid[], $3::integer[]) WITH ORDINALITY AS e (queue, job_id, retry_count, place)),
active AS (
  SELECT e.place FROM ended e
    JOIN pgboss.job j ON j.name = e.queue AND j.id = e.job_id AND j.state = 'active' AND j.retry_count = e.retry_count),
gone AS (
  DELETE FROM service_ops.job_claim c USING ended e
   WHERE c.queue = e.queue AND c.job_id = e.job_id AND c.retry_count = e.retry_count AND c.locked_by = $4
     AND e.place NOT IN (SELECT active.place FROM active))
SELECT active.place::integer AS place FROM active;

-- name: held_by
-- $1 instance. What it runs, as far as is known.
SELECT c.queue, c.job_id AS id, c.retry_count AS "retryCount", c.deaths, c.freezes
  FROM service_ops.job_claim c
  JOIN pgboss.job j ON j.name = c.queue AND j.id = c.job_id AND j.state = 'active' AND j.retry_count = c.retry_count
 WHERE c.locked_by = $1
 ORDER BY c.claimed_at;

-- name: take_back
-- $1 queue, $2 id, $3 retry_count, $4 instance that is gone, $5 it died. Gives the attempt back as boss.sql's give_back does,
-- unburned; no row when somebody else did, or its owner has settled it after all.
WITH back AS (
  UPDATE pgboss.job AS j SET state = 'created', retry_limit = j.retry_limit + 1, heartbeat_on = NULL
   WHERE j.name = $1 AND j.id = $2::uuid AND j.state = 'active' AND j.retry_count = $3::integer
     AND EXISTS (SELECT FROM service_ops.job_claim c
                  WHERE c.queue = $1 AND c.job_id = $2::uuid AND c.retry_count = $3::integer AND c.locked_by = $4)
  RETURNING j.id)
UPDATE service_ops.job_claim c
   SET locked_by = NULL, deaths = c.deaths + $5::boolean::integer, freezes = c.freezes + (NOT $5::boolean)::integer
  FROM back WHERE c.queue = $1 AND c.job_id = back.id
RETURNING c.deaths;

-- name: count_gone
-- $1 queue, $2 id, $3 retry_count, $4 instance that is gone, $5 it died. The attempt has been failed for it.
UPDATE service_ops.job_claim c
   SET locked_by = NULL, deaths = c.deaths + $5::boolean::integer, freezes = c.freezes + (NOT $5::boolean)::integer
 WHERE c.queue = $1 AND c.job_id = $2::uuid AND c.retry_count = $3::integer AND c.locked_by = $4;

-- name: forget_claims
-- Claims that mean nothing any more: their job has ended, or is gone.
DELETE FROM service_ops.job_claim c
 WHERE NOT EXISTS (SELECT FROM pgboss.job j WHERE j.name = c.queue AND j.id = c.job_id AND j.state <= 'active');

-- name: lost_owners
-- $1 who asks. Owners that nobody watches: no living row of their own and no session. One that is only silent is not among
-- them: its record may be locked, the database may have been away, the clock may have stepped; silence is for the watch to judge.
SELECT DISTINCT c.locked_by AS owner
  FROM service_ops.job_claim c
 WHERE c.locked_by <> $1
   AND NOT EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.instance_id = c.locked_by AND i.state <> 'stopped')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                    WHERE a.application_name = 'tidemark:' || c.locked_by AND a.datname = current_database());

-- name: due
-- $1 queues that are worked here, $2 how long an attempt may be active without a claim. What is there to do: `due` has a job
-- that can be fetched, `unclaimed` one that was fetched by somebody who never learned of it.
SELECT q.name AS queue,
       EXISTS (SELECT FROM pgboss.job j
                WHERE j.name = q.name AND j.state < 'active' AND NOT j.blocked AND j.start_after <= pgboss.job_now()) AS due,
       q.name LIKE 'job.%' AND EXISTS (
         SELECT FROM pgboss.job j
          WHERE j.name = q.name AND j.state = 'active'
            AND greatest(j.started_on, j.heartbeat_on) < pgboss.job_now() - $2::interval
            AND NOT EXISTS (SELECT FROM service_ops.job_claim c
                             WHERE c.queue = j.name AND c.job_id = j.id AND c.retry_count = j.retry_count)) AS unclaimed
  FROM unnest($1::text[]) AS q (name);

-- name: give_back_unclaimed
-- $1 queue, $2 as above. Unburned: no handler has begun, since it would have claimed the attempt first. Not while an
-- instance lives whose release claims nothing (a deploy under way): the job may be running there. Its record was there
-- before it fetched anything; what it leaves behind is found here once it is stopped.
UPDATE pgboss.job AS j SET state = 'created', retry_limit = j.retry_limit + 1, heartbeat_on = NULL
 WHERE j.name = $1 AND j.state = 'active'
   AND greatest(j.started_on, j.heartbeat_on) < pgboss.job_now() - $2::interval
   AND NOT EXISTS (SELECT FROM service_ops.job_claim c
                    WHERE c.queue = j.name AND c.job_id = j.id AND c.retry_count = j.retry_count)
   AND NOT EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.state <> 'stopped' AND NOT i.claims_jobs)
RETURNING j.id;
