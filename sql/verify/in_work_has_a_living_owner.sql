-- title: Every message in work belongs to an instance that is alive.
-- meaning: Messages are stuck. Any running instance takes them back within seconds; if none does, none is running.
-- scope: once
SELECT count(*) AS found, min(m.inbox_id::text || ' of ' || m.locked_by) AS detail
  FROM service_ops.integration_inbox m
 WHERE m.status = 'PROCESSING'
   AND NOT EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.instance_id = m.locked_by AND i.state <> 'stopped'
                      AND i.last_seen_at > clock_timestamp() - interval '30 seconds')
   AND coalesce(m.locked_at, m.updated_at) < clock_timestamp() - interval '30 seconds'
