-- Who is alive, oldest first; the schema version that was there when it started.
SELECT i.state, i.release, coalesce(i.machine_id, i.instance_id) AS machine, i.instance_id,
       coalesce((SELECT max(w.schema_version) FROM service_ops.schema_window w WHERE w.at <= i.started_at), 0) AS started_on
  FROM service_ops.instance_status i WHERE i.state NOT IN ('stopped', 'lost') ORDER BY i.started_at
