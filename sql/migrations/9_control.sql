-- What operators do: pauses are stamped and told to every instance, and every action is on record.

CREATE TABLE IF NOT EXISTS service_ops.operator_action (
  action_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at        timestamptz NOT NULL DEFAULT clock_timestamp(),
  who       text NOT NULL,
  how       text NOT NULL CHECK (how IN ('cli', 'http', 'sql')),
  action    text NOT NULL,
  target    text NOT NULL,
  detail    jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE service_ops.operator_action IS 'What operators did, by command line, HTTP or SQL.';
COMMENT ON COLUMN service_ops.operator_action.action_id IS 'Number of the action.';
COMMENT ON COLUMN service_ops.operator_action.at IS 'When.';
COMMENT ON COLUMN service_ops.operator_action.who IS 'Who, as the command line or the caller of HTTP says; by SQL the role that logged in, or what it wrote to paused_by.';
COMMENT ON COLUMN service_ops.operator_action.how IS 'cli, http or sql.';
COMMENT ON COLUMN service_ops.operator_action.action IS 'pause, resume, poll, retry, discard, replay, reset …';
COMMENT ON COLUMN service_ops.operator_action.target IS 'The task, or the messages: inbox 42, or inbox with a filter in detail.';
COMMENT ON COLUMN service_ops.operator_action.detail IS 'What else there is to know; role is the role that logged in, whatever who says.';

-- Says who acts in this transaction: the settings tidemark.who and tidemark.how, which the command line and HTTP make; else
-- it is SQL, by the role that logged in. Whoever writes SQL can set them, too: detail.role is what nobody can choose.
CREATE OR REPLACE FUNCTION service_ops.acting(OUT who text, OUT how text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $acting$
BEGIN
  how := CASE WHEN current_setting('tidemark.how', true) IN ('cli', 'http') THEN current_setting('tidemark.how', true) ELSE 'sql' END;
  who := left(coalesce(nullif(current_setting('tidemark.who', true), ''), session_user::text), 200);
END $acting$;
COMMENT ON FUNCTION service_ops.acting() IS 'Who acts in this transaction, and how.';

-- The one place that writes records. Its number is left in the setting tidemark.action, for whoever set off a trigger.
CREATE OR REPLACE FUNCTION service_ops.record_action(action text, target text, detail jsonb DEFAULT '{}', who text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $record$
DECLARE
  made bigint;
BEGIN
  INSERT INTO service_ops.operator_action (who, how, action, target, detail)
  SELECT coalesce(left(record_action.who, 200), a.who), a.how, record_action.action, record_action.target,
         record_action.detail || jsonb_build_object('role', session_user::text)
    FROM service_ops.acting() a
  RETURNING action_id INTO made;
  PERFORM set_config('tidemark.action', made::text, true);
  RETURN made;
END $record$;
COMMENT ON FUNCTION service_ops.record_action(text, text, jsonb, text) IS 'Writes down an action of an operator and returns its number; who acts stands in the settings tidemark.who and tidemark.how.';

-- Who pauses may name somebody in paused_by; a resume clears both.
CREATE OR REPLACE FUNCTION service_ops.stamp_pause() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $stamp$
BEGIN
  IF NEW.paused THEN
    NEW.paused_by := coalesce(nullif(NEW.paused_by, OLD.paused_by), (SELECT a.who FROM service_ops.acting() a));
    NEW.paused_at := clock_timestamp();
  ELSE
    NEW.paused_by := NULL;
    NEW.paused_at := NULL;
  END IF;
  RETURN NEW;
END $stamp$;
COMMENT ON FUNCTION service_ops.stamp_pause() IS 'Trigger: fills in paused_by and paused_at.';

-- With the owner's rights: a role that may write the one column paused need not be able to write records, too. So it is for
-- this one table: else anybody could put it on a table of his own, and write records of his own making.
CREATE OR REPLACE FUNCTION service_ops.tell_pause() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $tell$
BEGIN
  IF TG_RELID <> 'service_ops.background_task'::regclass THEN
    RAISE EXCEPTION 'service_ops.tell_pause() is for service_ops.background_task alone, and was put on %', TG_RELID::regclass
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  PERFORM service_ops.record_action(CASE WHEN NEW.paused THEN 'pause' ELSE 'resume' END, NEW.task_name, '{}', NEW.paused_by);
  PERFORM pg_notify('tidemark_control', NEW.task_name);
  RETURN NULL;
END $tell$;
COMMENT ON FUNCTION service_ops.tell_pause() IS 'Trigger: records a pause or resume and tells every instance.';

-- Rights are looked at when a trigger is made, not when it fires.
REVOKE EXECUTE ON FUNCTION service_ops.stamp_pause(), service_ops.tell_pause() FROM PUBLIC;

-- Looked at first: CREATE TRIGGER asks for its lock before it looks, and would wait for every registration.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = 'service_ops.background_task'::regclass AND g.tgname = 'stamp_pause') THEN
    CREATE TRIGGER stamp_pause BEFORE UPDATE ON service_ops.background_task
      FOR EACH ROW WHEN (NEW.paused IS DISTINCT FROM OLD.paused) EXECUTE FUNCTION service_ops.stamp_pause();
  END IF;
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = 'service_ops.background_task'::regclass AND g.tgname = 'tell_pause') THEN
    CREATE TRIGGER tell_pause AFTER UPDATE ON service_ops.background_task
      FOR EACH ROW WHEN (NEW.paused IS DISTINCT FROM OLD.paused) EXECUTE FUNCTION service_ops.tell_pause();
  END IF;
END $$;

-- A view of its own, for the reason that 7 gives at sweep_status.
CREATE OR REPLACE VIEW service_ops.task_status AS
SELECT t.id,
       t.task_name,
       t.kind,
       t.led,
       t.paused,
       t.paused_by,
       t.paused_at,
       round(extract(epoch FROM clock_timestamp() - t.paused_at)::numeric, 1) AS paused_seconds,
       cardinality(i.live) = 0 AS orphaned,
       i.live AS instances,
       t.release,
       t.seen_at
  FROM service_ops.background_task t
 CROSS JOIN LATERAL (
       SELECT ARRAY(SELECT r.instance_id FROM service_ops.runner_instance r
                     WHERE r.state <> 'stopped' AND t.task_name = ANY (r.tasks)
                       AND r.last_seen_at > clock_timestamp() - interval '30 seconds'
                     ORDER BY r.started_at, r.instance_id) AS live) i
 ORDER BY t.id;
COMMENT ON VIEW service_ops.task_status IS 'One row a task: whether it is paused, since when and by whom, and which instances have it.';
COMMENT ON COLUMN service_ops.task_status.id IS 'Number of the task.';
COMMENT ON COLUMN service_ops.task_status.task_name IS 'Its name.';
COMMENT ON COLUMN service_ops.task_status.kind IS 'poller, processor or job.';
COMMENT ON COLUMN service_ops.task_status.led IS 'True: exactly one instance leads it.';
COMMENT ON COLUMN service_ops.task_status.paused IS 'Held by an operator, on every instance.';
COMMENT ON COLUMN service_ops.task_status.paused_by IS 'Who paused it.';
COMMENT ON COLUMN service_ops.task_status.paused_at IS 'When it was paused.';
COMMENT ON COLUMN service_ops.task_status.paused_seconds IS 'Seconds since then.';
COMMENT ON COLUMN service_ops.task_status.orphaned IS 'No live instance has it in its configuration. Not a fault.';
COMMENT ON COLUMN service_ops.task_status.instances IS 'Live instances that have it in their configuration.';
COMMENT ON COLUMN service_ops.task_status.release IS 'Release that registered it last.';
COMMENT ON COLUMN service_ops.task_status.seen_at IS 'When it was registered last.';

DO $$ BEGIN
  ASSERT to_regclass('service_ops.operator_action') IS NOT NULL, 'service_ops.operator_action is missing';
  ASSERT to_regprocedure('service_ops.acting()') IS NOT NULL, 'service_ops.acting() is missing';
  ASSERT to_regprocedure('service_ops.record_action(text, text, jsonb, text)') IS NOT NULL, 'service_ops.record_action() is missing';
  ASSERT to_regclass('service_ops.task_status') IS NOT NULL, 'service_ops.task_status is missing';
  ASSERT (SELECT count(*) FROM pg_catalog.pg_trigger g
           WHERE g.tgrelid = 'service_ops.background_task'::regclass AND g.tgname IN ('stamp_pause', 'tell_pause')) = 2,
    'a trigger of service_ops.background_task is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (9, 5) ON CONFLICT DO NOTHING;
END $$;
