-- name: cut_off
-- $1 instance, which no longer runs. Nobody takes its messages back before it has been silent for seconds.
INSERT INTO tidemark_rehearsal.cut_off (source, message_id, instance)
SELECT m.source, m.message_id, $1 FROM service_ops.integration_inbox m WHERE m.locked_by = $1 AND m.status = 'PROCESSING';

-- name: leaders
SELECT task_name, instance_id FROM service_ops.background_task_leader WHERE expires_at > clock_timestamp() ORDER BY task_name;
