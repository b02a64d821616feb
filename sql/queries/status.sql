-- What `tidemark status` and `/status` show, and what `tidemark verify` runs.

-- name: document
-- One document from one snapshot. Numbers stay numbers and times keep their microseconds, which rows of a driver lose.
SELECT jsonb_build_object(
  'at', clock_timestamp(),
  'pollers', (SELECT coalesce(jsonb_agg(to_jsonb(p) || jsonb_build_object(
                       'paused_by', t.paused_by, 'paused_at', t.paused_at, 'paused_seconds', t.paused_seconds,
                       'wake', coalesce(k.is_on, false)) ORDER BY p.id), '[]')
                FROM service_ops.poller_status p JOIN service_ops.task_status t USING (id) LEFT JOIN service_ops.wake_status k USING (id)),
  'processors', (SELECT coalesce(jsonb_agg(to_jsonb(p) || jsonb_build_object('orphaned', t.orphaned,
                          'paused_by', t.paused_by, 'paused_at', t.paused_at, 'paused_seconds', t.paused_seconds) ORDER BY p.id), '[]')
                   FROM service_ops.processor_status p JOIN service_ops.task_status t USING (id)),
  'jobs', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'job', t.task_name, 'orphaned', t.orphaned,
                    'paused', t.paused, 'paused_by', t.paused_by, 'paused_at', t.paused_at, 'paused_seconds', t.paused_seconds) ORDER BY t.id), '[]')
             FROM service_ops.task_status t WHERE t.kind = 'job'),
  'circuits', (SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.target, c.instance_id), '[]') FROM service_ops.circuit_status c),
  'leaders', (
    SELECT coalesce(jsonb_agg(to_jsonb(l) || jsonb_build_object(
             'expired', l.expires_at < clock_timestamp(),
             'led_seconds', round(extract(epoch FROM clock_timestamp() - l.acquired_at)::numeric, 1)) ORDER BY l.task_name), '[]')
      FROM service_ops.background_task_leader l),
  'leader_changes', (
    SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.at DESC), '[]')
      FROM (SELECT *, round(extract(epoch FROM clock_timestamp() - at)::numeric, 1) AS seconds_ago
              FROM service_ops.leader_change ORDER BY at DESC LIMIT 10) c),
  'instances', (
    SELECT coalesce(jsonb_agg(to_jsonb(i) ORDER BY i.started_at DESC), '[]')
      -- An hour of those that are gone: enough to see the last deploy, few enough to read.
      FROM (SELECT * FROM service_ops.instance_status s
             WHERE s.state <> 'stopped' OR s.seen_seconds_ago < 3600
             ORDER BY s.started_at DESC LIMIT 100) i)
) AS document

-- name: verify
SELECT v.name, v.ok, v.found::double precision AS found, v.detail, v.query FROM service_ops.verify() v ORDER BY v.name
