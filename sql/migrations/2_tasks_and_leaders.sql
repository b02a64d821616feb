-- Background tasks, who leads them, and which instances there are.

CREATE TABLE IF NOT EXISTS service_ops.background_task (
  id               integer PRIMARY KEY,
  task_name        text NOT NULL UNIQUE,
  kind             text NOT NULL CHECK (kind IN ('poller', 'processor', 'job')),
  led              boolean NOT NULL,
  paused           boolean NOT NULL DEFAULT false,
  paused_by        text,
  paused_at        timestamptz,
  interval_seconds numeric,
  source_table     text,
  source_columns   jsonb,
  sources          text[],
  forgotten_before timestamptz,
  config_hash      text NOT NULL,
  release          text NOT NULL,
  seen_at          timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE service_ops.background_task IS 'Every poller, processor and job that any instance has ever been configured with.';
COMMENT ON COLUMN service_ops.background_task.id IS 'Number of the task, given once in order of registration.';
COMMENT ON COLUMN service_ops.background_task.task_name IS 'Name, unique over all kinds.';
COMMENT ON COLUMN service_ops.background_task.kind IS 'poller, processor or job.';
COMMENT ON COLUMN service_ops.background_task.led IS 'True: exactly one instance leads it. False: every instance works.';
COMMENT ON COLUMN service_ops.background_task.paused IS 'Set to true to hold the task on every instance; false to go on.';
COMMENT ON COLUMN service_ops.background_task.paused_by IS 'Who paused it.';
COMMENT ON COLUMN service_ops.background_task.paused_at IS 'When it was paused.';
COMMENT ON COLUMN service_ops.background_task.interval_seconds IS 'Pollers: seconds between passes, as the newest registration has it.';
COMMENT ON COLUMN service_ops.background_task.source_table IS 'Pollers: the table that is read, quoted as SQL needs it.';
COMMENT ON COLUMN service_ops.background_task.source_columns IS 'Pollers: id and time column and condition, each as SQL: {"id", "created_at", "where"}.';
COMMENT ON COLUMN service_ops.background_task.sources IS 'Processors: the pollers and intakes whose messages it takes.';
COMMENT ON COLUMN service_ops.background_task.forgotten_before IS 'Source rows older than this may have been processed and deleted by retention; they are never taken in again.';
COMMENT ON COLUMN service_ops.background_task.config_hash IS 'Digest of the configuration at the newest registration.';
COMMENT ON COLUMN service_ops.background_task.release IS 'Release that registered it last.';
COMMENT ON COLUMN service_ops.background_task.seen_at IS 'When it was registered last.';

-- Terms are drawn from here under a row lock, and outlive a dropped leader table.
CREATE TABLE IF NOT EXISTS service_ops.leader_term (
  task_name     text PRIMARY KEY,
  term          bigint NOT NULL,
  released_term bigint,
  released_from text,
  released_at   timestamptz
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE service_ops.leader_term IS 'The newest term of each led task. Terms only grow.';
COMMENT ON COLUMN service_ops.leader_term.task_name IS 'The led task.';
COMMENT ON COLUMN service_ops.leader_term.term IS 'Newest term that was drawn.';
COMMENT ON COLUMN service_ops.leader_term.released_term IS 'Newest term that ended by a hand-over.';
COMMENT ON COLUMN service_ops.leader_term.released_from IS 'Instance that handed over then.';
COMMENT ON COLUMN service_ops.leader_term.released_at IS 'When it did.';

CREATE TABLE IF NOT EXISTS service_ops.background_task_leader (
  task_name            text PRIMARY KEY,
  holder               uuid NOT NULL,
  instance_id          text NOT NULL,
  term                 bigint NOT NULL,
  acquired_at          timestamptz NOT NULL,
  renewed_at           timestamptz NOT NULL,
  expires_at           timestamptz NOT NULL,
  previous_instance_id text,
  previous_renewed_at  timestamptz
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE service_ops.background_task_leader IS 'One row per led task that has a leader. A lease in the past: the leader died and nobody took over yet.';
COMMENT ON COLUMN service_ops.background_task_leader.task_name IS 'The led task.';
COMMENT ON COLUMN service_ops.background_task_leader.holder IS 'The process that leads: a uuid per process start. With term, the fence of its writes.';
COMMENT ON COLUMN service_ops.background_task_leader.instance_id IS 'Readable name of that process.';
COMMENT ON COLUMN service_ops.background_task_leader.term IS 'Number of this leadership; the next one is higher.';
COMMENT ON COLUMN service_ops.background_task_leader.acquired_at IS 'When this leadership began.';
COMMENT ON COLUMN service_ops.background_task_leader.renewed_at IS 'Newest proof of life.';
COMMENT ON COLUMN service_ops.background_task_leader.expires_at IS 'End of the lease; anybody may lead after it.';
COMMENT ON COLUMN service_ops.background_task_leader.previous_instance_id IS 'Whom this leader ousted, when it took over from a dead one.';
COMMENT ON COLUMN service_ops.background_task_leader.previous_renewed_at IS 'The ousted leader''s last proof of life.';

CREATE TABLE IF NOT EXISTS service_ops.leader_change (
  change_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_name     text NOT NULL,
  from_instance text,
  to_instance   text NOT NULL,
  term          bigint NOT NULL,
  reason        text NOT NULL CHECK (reason IN ('elected', 'handed_over', 'took_over')),
  gap_ms        double precision,
  at            timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE service_ops.leader_change IS 'Every change of leadership.';
COMMENT ON COLUMN service_ops.leader_change.change_id IS 'Running number.';
COMMENT ON COLUMN service_ops.leader_change.task_name IS 'The led task.';
COMMENT ON COLUMN service_ops.leader_change.from_instance IS 'Who led before; NULL when nobody did.';
COMMENT ON COLUMN service_ops.leader_change.to_instance IS 'Who leads from now on.';
COMMENT ON COLUMN service_ops.leader_change.term IS 'Term of the new leadership.';
COMMENT ON COLUMN service_ops.leader_change.reason IS 'elected: nobody led; handed_over: passed on purpose; took_over: taken from the dead.';
COMMENT ON COLUMN service_ops.leader_change.gap_ms IS 'Milliseconds without a leader: since the release, or since the dead leader''s last proof of life.';
COMMENT ON COLUMN service_ops.leader_change.at IS 'When.';

CREATE TABLE IF NOT EXISTS service_ops.runner_instance (
  instance_id   text PRIMARY KEY,
  holder        uuid NOT NULL UNIQUE,
  machine_id    text,
  region        text,
  release       text NOT NULL,
  process_group text,
  state         text NOT NULL CHECK (state IN ('starting', 'ready', 'draining', 'stopped')),
  sentinel      boolean NOT NULL DEFAULT false,
  tasks         text[] NOT NULL DEFAULT '{}',
  started_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  last_seen_at  timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);
COMMENT ON TABLE service_ops.runner_instance IS 'Running processes, and those that ran lately.';
COMMENT ON COLUMN service_ops.runner_instance.instance_id IS 'Readable name, unique per process start.';
COMMENT ON COLUMN service_ops.runner_instance.holder IS 'Its uuid, as in background_task_leader.';
COMMENT ON COLUMN service_ops.runner_instance.machine_id IS 'FLY_MACHINE_ID, or the host''s name.';
COMMENT ON COLUMN service_ops.runner_instance.region IS 'FLY_REGION.';
COMMENT ON COLUMN service_ops.runner_instance.release IS 'Release it runs.';
COMMENT ON COLUMN service_ops.runner_instance.process_group IS 'FLY_PROCESS_GROUP.';
COMMENT ON COLUMN service_ops.runner_instance.state IS 'starting, ready, draining or stopped.';
COMMENT ON COLUMN service_ops.runner_instance.sentinel IS 'True: it holds a session lock that PostgreSQL frees when the process dies.';
COMMENT ON COLUMN service_ops.runner_instance.tasks IS 'Background tasks that its configuration has.';
COMMENT ON COLUMN service_ops.runner_instance.started_at IS 'When it started.';
COMMENT ON COLUMN service_ops.runner_instance.last_seen_at IS 'Its newest heartbeat.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.background_task') IS NOT NULL, 'service_ops.background_task is missing';
  ASSERT to_regclass('service_ops.leader_term') IS NOT NULL, 'service_ops.leader_term is missing';
  ASSERT to_regclass('service_ops.background_task_leader') IS NOT NULL, 'service_ops.background_task_leader is missing';
  ASSERT to_regclass('service_ops.leader_change') IS NOT NULL, 'service_ops.leader_change is missing';
  ASSERT to_regclass('service_ops.runner_instance') IS NOT NULL, 'service_ops.runner_instance is missing';
END $$;
