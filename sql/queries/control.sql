-- What operators do to tasks, and what instances hear of it.

-- name: act_as
-- $1 who, $2 how. Who acts in this transaction, for what is recorded in it.
SELECT set_config('tidemark.who', $1, true), set_config('tidemark.how', $2, true);

-- name: set_paused
-- $1 task, $2 paused. Stamped, recorded and told by triggers. No row: it is so already, or there is no such task.
UPDATE service_ops.background_task t SET paused = $2
 WHERE t.task_name = $1 AND t.paused IS DISTINCT FROM $2
RETURNING t.task_name;

-- name: recorded
-- The number of the newest action of this transaction; NULL: there is none.
SELECT nullif(current_setting('tidemark.action', true), '')::bigint AS id;

-- name: record
-- $1 action, $2 target, $3 detail.
SELECT service_ops.record_action($1, $2, $3::jsonb) AS id;

-- name: amend
-- $1 number of an action, $2 what else there is to know of it.
UPDATE service_ops.operator_action a SET detail = a.detail || $2::jsonb WHERE a.action_id = $1;

-- name: task
-- $1 task.
SELECT t.kind, t.paused, t.paused_by, t.paused_at::text AS paused_at FROM service_ops.background_task t WHERE t.task_name = $1;

-- name: names
SELECT t.task_name FROM service_ops.background_task t ORDER BY t.id;

-- name: paused
-- What is paused, all of it: every instance asks this all the time.
SELECT t.task_name, t.paused_by FROM service_ops.background_task t WHERE t.paused;

-- name: resumed_by
-- $1 task. Who resumed it last.
SELECT a.who FROM service_ops.operator_action a WHERE a.target = $1 AND a.action = 'resume' ORDER BY a.action_id DESC LIMIT 1;

-- name: orphans
-- $1 instance. Tasks that no live instance has; told to the instance that has run longest alone, so that one says it.
SELECT s.task_name FROM service_ops.task_status s
 WHERE s.orphaned
   AND $1 = (SELECT r.instance_id FROM service_ops.runner_instance r
              WHERE r.state <> 'stopped' AND r.last_seen_at > clock_timestamp() - interval '30 seconds'
              ORDER BY r.started_at, r.instance_id LIMIT 1)
 ORDER BY s.id;
