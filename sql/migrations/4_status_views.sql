-- What operators ask: views over the tables, readable by any role with SELECT on the schema.

CREATE OR REPLACE VIEW service_ops.instance_status AS
SELECT i.instance_id,
       CASE WHEN i.state <> 'stopped' AND i.last_seen_at < clock_timestamp() - interval '10 seconds' THEN 'lost' ELSE i.state END AS state,
       i.release,
       i.region,
       i.machine_id,
       i.process_group,
       ARRAY(SELECT l.task_name FROM service_ops.background_task_leader l WHERE l.holder = i.holder ORDER BY 1) AS leads,
       round(extract(epoch FROM clock_timestamp() - i.last_seen_at)::numeric, 1) AS seen_seconds_ago,
       i.started_at
  FROM service_ops.runner_instance i
 ORDER BY i.started_at DESC;
COMMENT ON VIEW service_ops.instance_status IS 'Instances, newest first. lost: no heartbeat for 10 s and no word of having stopped.';
COMMENT ON COLUMN service_ops.instance_status.instance_id IS 'Readable name, unique per process start.';
COMMENT ON COLUMN service_ops.instance_status.state IS 'starting, ready, draining, stopped or lost.';
COMMENT ON COLUMN service_ops.instance_status.release IS 'Release it runs.';
COMMENT ON COLUMN service_ops.instance_status.region IS 'FLY_REGION.';
COMMENT ON COLUMN service_ops.instance_status.machine_id IS 'FLY_MACHINE_ID, or the host''s name.';
COMMENT ON COLUMN service_ops.instance_status.process_group IS 'FLY_PROCESS_GROUP.';
COMMENT ON COLUMN service_ops.instance_status.leads IS 'Tasks that it leads.';
COMMENT ON COLUMN service_ops.instance_status.seen_seconds_ago IS 'Seconds since its newest heartbeat.';
COMMENT ON COLUMN service_ops.instance_status.started_at IS 'When it started.';

CREATE OR REPLACE VIEW service_ops.poller_status AS
SELECT t.id,
       t.task_name AS poller,
       t.source_table,
       t.paused,
       NOT EXISTS (SELECT FROM service_ops.runner_instance i WHERE i.state <> 'stopped' AND t.task_name = ANY (i.tasks)
                      AND i.last_seen_at > clock_timestamp() - interval '30 seconds') AS orphaned,
       l.instance_id AS leader,
       l.term,
       t.interval_seconds,
       w.edge,
       CASE WHEN isfinite(w.edge) THEN round(extract(epoch FROM clock_timestamp() - w.edge)::numeric, 3) END AS edge_lag_seconds,
       round(extract(epoch FROM clock_timestamp() - ok.started_at)::numeric, 3) AS lag_seconds,
       w.last_created_at,
       w.last_message_id,
       w.rows_total,
       w.late_rows_total,
       r.started_at AS last_run_at,
       r.outcome AS last_outcome,
       r.rows_inserted AS last_rows_inserted,
       r.error AS last_error,
       ok.due_at + make_interval(secs => t.interval_seconds::double precision) AS next_run_at
  FROM service_ops.background_task t
  LEFT JOIN service_ops.integration_poll_watermark w ON w.poller = t.task_name
  LEFT JOIN service_ops.background_task_leader l ON l.task_name = t.task_name AND l.expires_at > clock_timestamp()
  LEFT JOIN LATERAL (SELECT * FROM service_ops.poll_run p WHERE p.poller = t.task_name ORDER BY p.started_at DESC LIMIT 1) r ON true
  LEFT JOIN LATERAL (SELECT * FROM service_ops.poll_run p WHERE p.poller = t.task_name AND p.outcome IN ('ran', 'late', 'backstop')
                      ORDER BY p.started_at DESC LIMIT 1) ok ON true
 WHERE t.kind = 'poller'
 ORDER BY t.id;
COMMENT ON VIEW service_ops.poller_status IS 'One row a poller: who leads it, how far it has come, how its newest pass went.';
COMMENT ON COLUMN service_ops.poller_status.id IS 'Number of the task.';
COMMENT ON COLUMN service_ops.poller_status.poller IS 'Name of the poller.';
COMMENT ON COLUMN service_ops.poller_status.source_table IS 'The table that it reads.';
COMMENT ON COLUMN service_ops.poller_status.paused IS 'Held by an operator.';
COMMENT ON COLUMN service_ops.poller_status.orphaned IS 'No live instance has it in its configuration. Not a fault.';
COMMENT ON COLUMN service_ops.poller_status.leader IS 'Instance that leads it; NULL: nobody at the moment.';
COMMENT ON COLUMN service_ops.poller_status.term IS 'Term of that leader.';
COMMENT ON COLUMN service_ops.poller_status.interval_seconds IS 'Seconds between passes.';
COMMENT ON COLUMN service_ops.poller_status.edge IS 'Every source row with an earlier time is in the inbox.';
COMMENT ON COLUMN service_ops.poller_status.edge_lag_seconds IS 'now - edge. Grows while a long transaction is open; costs no latency and no row.';
COMMENT ON COLUMN service_ops.poller_status.lag_seconds IS 'Seconds since the newest completed pass began: what is older has been looked for.';
COMMENT ON COLUMN service_ops.poller_status.last_created_at IS 'Time of the greatest cursor ever taken in.';
COMMENT ON COLUMN service_ops.poller_status.last_message_id IS 'Id of the greatest cursor ever taken in.';
COMMENT ON COLUMN service_ops.poller_status.rows_total IS 'Rows ever put into the inbox.';
COMMENT ON COLUMN service_ops.poller_status.late_rows_total IS 'Of those, rows taken in behind the greatest cursor.';
COMMENT ON COLUMN service_ops.poller_status.last_run_at IS 'When the newest pass began.';
COMMENT ON COLUMN service_ops.poller_status.last_outcome IS 'How it ended.';
COMMENT ON COLUMN service_ops.poller_status.last_rows_inserted IS 'Rows that it put into the inbox.';
COMMENT ON COLUMN service_ops.poller_status.last_error IS 'Why it failed.';
COMMENT ON COLUMN service_ops.poller_status.next_run_at IS 'When the next pass is due.';

CREATE OR REPLACE VIEW service_ops.processor_status AS
SELECT t.id,
       t.task_name AS processor,
       t.sources,
       t.led AS exclusive,
       t.paused,
       l.instance_id AS leader,
       l.term,
       b.waiting,
       b.processing,
       b.failed,
       b.dead,
       round(extract(epoch FROM clock_timestamp() - b.oldest_open_at)::numeric, 1) AS oldest_open_seconds
  FROM service_ops.background_task t
  LEFT JOIN service_ops.background_task_leader l ON l.task_name = t.task_name AND l.expires_at > clock_timestamp()
 CROSS JOIN LATERAL (
       SELECT count(*) FILTER (WHERE o.status = 'NEW') AS waiting,
              count(*) FILTER (WHERE o.status = 'PROCESSING') AS processing,
              count(*) FILTER (WHERE o.status = 'FAILED') AS failed,
              count(*) FILTER (WHERE o.status = 'DEAD') AS dead,
              min(o.created_at) FILTER (WHERE o.status IN ('NEW', 'PROCESSING', 'FAILED')) AS oldest_open_at
         FROM unnest(t.sources) s(source)
        CROSS JOIN LATERAL (
              SELECT m.status, m.created_at FROM service_ops.integration_inbox m
               WHERE m.source = s.source AND m.next_attempt_at IS NULL AND m.status IN ('NEW', 'PROCESSING')
                 AND m.inbox_id > coalesce((SELECT w.low FROM service_ops.inbox_low_water w WHERE w.source = s.source), 0)
               UNION ALL
              SELECT m.status, m.created_at FROM service_ops.integration_inbox m
               WHERE m.source = s.source AND m.next_attempt_at IS NOT NULL) o) b
 WHERE t.kind = 'processor'
 ORDER BY t.id;
COMMENT ON VIEW service_ops.processor_status IS 'One row a processor: who leads it if it is exclusive, and its backlog.';
COMMENT ON COLUMN service_ops.processor_status.id IS 'Number of the task.';
COMMENT ON COLUMN service_ops.processor_status.processor IS 'Name of the processor.';
COMMENT ON COLUMN service_ops.processor_status.sources IS 'Pollers and intakes whose messages it takes.';
COMMENT ON COLUMN service_ops.processor_status.exclusive IS 'True: one leader works, in the whole cluster.';
COMMENT ON COLUMN service_ops.processor_status.paused IS 'Held by an operator.';
COMMENT ON COLUMN service_ops.processor_status.leader IS 'Instance that leads it; NULL: nobody, or it is not led.';
COMMENT ON COLUMN service_ops.processor_status.term IS 'Term of that leader.';
COMMENT ON COLUMN service_ops.processor_status.waiting IS 'NEW messages.';
COMMENT ON COLUMN service_ops.processor_status.processing IS 'Messages in work.';
COMMENT ON COLUMN service_ops.processor_status.failed IS 'Messages that failed and will be tried again.';
COMMENT ON COLUMN service_ops.processor_status.dead IS 'Messages given up; they need a person.';
COMMENT ON COLUMN service_ops.processor_status.oldest_open_seconds IS 'Age of the oldest message that is neither finished nor given up.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.instance_status') IS NOT NULL, 'service_ops.instance_status is missing';
  ASSERT to_regclass('service_ops.poller_status') IS NOT NULL, 'service_ops.poller_status is missing';
  ASSERT to_regclass('service_ops.processor_status') IS NOT NULL, 'service_ops.processor_status is missing';
END $$;
