-- trace() takes as long as its story is, however many jobs there are; and what cannot be read of it does not take the rest along.

-- Whoever asks what was done to a message asks by its name, and for bulk actions by their time. The table has a row for each
-- thing that a person did: its index is made at once.
CREATE INDEX IF NOT EXISTS operator_action_by_target ON service_ops.operator_action (target, at);

-- The story of one message is put together from tables that may be gone, or not this role's to read, or slow: each of those is
-- read for itself, and one that could not be is said in a line of its own.
--
-- Jobs are found by their ids. Those that are sent in a trace begin with 60 bits of the trace's hash (src/jobs/send.ts), which is a
-- range of pg-boss's own primary key in each queue; their copies among the dead, and what was sent again from there, name the
-- first of their chain in source_root_id, which has an index as well. pg-boss's table has no index by trace, and must not be given
-- one of ours. A release from before this sends jobs under any id: those are looked for among the thousand of each queue that
-- were sent next after the first message. A job that carries no trace has its own id for one.
--
-- Without sorts and bitmaps, where there is a choice: a table that was never analyzed seems so small that all of a queue would be read
-- and sorted for its first thousand. And without JIT, which would take the costs that stand for "no choice" at their word.
CREATE OR REPLACE FUNCTION service_ops.trace(id text)
RETURNS TABLE (at timestamptz, since_start_ms double precision, what text, who text, detail text)
LANGUAGE plpgsql STABLE SET enable_sort TO off SET enable_bitmapscan TO off SET jit TO off AS $trace$
#variable_conflict use_column
DECLARE
  mine      bigint[];                -- the first 200 messages
  since     timestamptz;             -- the first of them was taken in
  hash      text := encode(sha256(convert_to($1, 'UTF8')), 'hex');
  prefix    text := format('%s-%s-8%s', left(hash, 8), substr(hash, 9, 4), substr(hash, 13, 3));
  ended     jsonb := '[]';
  acted     jsonb := '[]';
  queued    jsonb := '[]';
  unread    jsonb := '{}';
  cancelled CONSTANT text := 'it took longer than a limit of time allows, or somebody cancelled it';
  missing   CONSTANT text := 'the table is not there, or not as it should be: run `tidemark migrate --repair`';
BEGIN
  SELECT (array_agg(f.inbox_id ORDER BY f.inbox_id))[1:200], min(f.created_at) INTO mine, since
    FROM (SELECT i.inbox_id, i.created_at FROM service_ops.integration_inbox i WHERE i.trace_id = $1 OFFSET 0) f;

  BEGIN
    SELECT coalesce(jsonb_agg(to_jsonb(a)), '[]') INTO ended FROM service_ops.message_attempt a WHERE a.inbox_id = ANY (mine);
  EXCEPTION
    WHEN query_canceled OR lock_not_available THEN unread := unread || jsonb_build_object('attempts', cancelled);
    WHEN undefined_table OR undefined_column THEN unread := unread || jsonb_build_object('attempts', missing);
    WHEN insufficient_privilege THEN
      unread := unread || jsonb_build_object('attempts', format('GRANT SELECT ON service_ops.message_attempt TO %I', current_user));
  END;

  BEGIN
    SELECT coalesce(jsonb_agg(to_jsonb(o)), '[]') INTO acted
      FROM (SELECT a.at, a.who, a.how, a.action, a.target, a.detail FROM service_ops.operator_action a
             WHERE a.target = ANY (ARRAY(SELECT 'inbox ' || n FROM unnest(mine) n))
            UNION ALL
            SELECT a.at, a.who, a.how, a.action, a.target, a.detail FROM service_ops.operator_action a WHERE a.target = 'inbox' AND a.at >= since) o;
  EXCEPTION
    WHEN query_canceled OR lock_not_available THEN unread := unread || jsonb_build_object('actions', cancelled);
    WHEN undefined_table OR undefined_column THEN unread := unread || jsonb_build_object('actions', missing);
    WHEN insufficient_privilege THEN
      unread := unread || jsonb_build_object('actions', format('GRANT SELECT ON service_ops.operator_action TO %I', current_user));
  END;

  -- Jobs lie in pg-boss's schema, which may not be there, or not be ours to read.
  IF EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'pgboss' AND c.relname = 'job') THEN
    BEGIN
      EXECUTE $jobs$
        WITH k AS MATERIALIZED (     -- in the order of an index each, so that none is ever found by reading all
          SELECT j.name, j.id FROM pgboss.queue q CROSS JOIN LATERAL (
                 SELECT j.name, j.id FROM pgboss.job j WHERE j.name = q.name AND j.id BETWEEN $2 AND $3 ORDER BY j.name, j.id LIMIT 200) j
          UNION
          SELECT j.name, j.id FROM pgboss.queue q CROSS JOIN LATERAL (
                 SELECT j.name, j.id FROM pgboss.job j WHERE j.name = q.name AND j.id = $4 LIMIT 1) j
          UNION
          (SELECT j.name, j.id FROM pgboss.job j WHERE j.source_root_id BETWEEN $2 AND $3 ORDER BY j.source_root_id LIMIT 200)
          UNION
          (SELECT j.name, j.id FROM pgboss.job j WHERE j.source_root_id = $4 LIMIT 200)
          UNION
          SELECT j.name, j.id FROM pgboss.queue q CROSS JOIN LATERAL (
                 SELECT j.name, j.id, j.data FROM pgboss.job j WHERE j.name = q.name AND j.created_on >= $5 ORDER BY j.name, j.created_on LIMIT 1000) j
           WHERE q.name LIKE 'job%' AND j.data -> 'tidemark' ->> 'trace_id' = $1)
        SELECT coalesce(jsonb_agg(j), '[]')
          FROM (SELECT j.id, j.name, j.state::text AS state, j.retry_count, j.created_on, j.start_after, j.started_on, j.completed_on,
                       CASE jsonb_typeof(j.output)
                         WHEN 'object' THEN concat_ws(': ', j.output ->> 'name', left(split_part(j.output ->> 'message', E'\n', 1), 200)) END AS error
                  FROM k CROSS JOIN LATERAL (SELECT j.* FROM pgboss.job j WHERE j.name = k.name AND j.id = k.id LIMIT 1) j
                 WHERE j.data -> 'tidemark' ->> 'trace_id' = $1 OR j.id = $4 OR j.source_root_id = $4
                 ORDER BY j.created_on, j.id LIMIT 200) j $jobs$
        INTO queued
        USING $1, (prefix || '-8000-000000000000')::uuid, (prefix || '-bfff-ffffffffffff')::uuid,
              CASE WHEN $1 ~ '^[0-9a-f]{32}$' THEN $1::uuid END, since;
    EXCEPTION
      WHEN query_canceled OR lock_not_available THEN unread := unread || jsonb_build_object('jobs', cancelled);
      WHEN insufficient_privilege THEN
        unread := unread || jsonb_build_object('jobs', format('GRANT USAGE ON SCHEMA pgboss TO %1$I; GRANT SELECT ON ALL TABLES IN SCHEMA pgboss TO %1$I', current_user));
      WHEN undefined_table OR undefined_column THEN
        unread := unread || jsonb_build_object('jobs', 'its schema is not the one that this was written for');
    END;
  END IF;

  -- Messages are found by the index on trace_id alone, whatever the statistics: hence OFFSET 0.
  RETURN QUERY
  WITH found AS MATERIALIZED (
    SELECT i.inbox_id, i.source, i.message_id, i.status, i.created_at, i.updated_at, i.source_created_at, i.processed_at, i.next_attempt_at,
           i.locked_at, i.locked_by, i.claim, i.attempts, i.max_attempts, i.last_error,
           i.claim = 0 AND i.last_error IS NOT NULL AND i.payload IS NULL AS is_refused
      FROM service_ops.integration_inbox i WHERE i.trace_id = $1 OFFSET 0),
  attempt AS MATERIALIZED (
    SELECT a.* FROM jsonb_to_recordset(ended) a(inbox_id bigint, claim integer, attempt integer, started_at timestamptz, ended_at timestamptz, instance_id text, outcome text, error text)),
  action AS MATERIALIZED (
    SELECT o.* FROM jsonb_to_recordset(acted) o(at timestamptz, who text, how text, action text, target text, detail jsonb)),
  m AS MATERIALIZED (
    SELECT f.*, p.task_name AS processor, p.delivers_to, p.paused, p.paused_by,
           (SELECT max(a.claim) FROM attempt a WHERE a.inbox_id = f.inbox_id) AS told_claim
      FROM (SELECT * FROM found ORDER BY found.inbox_id LIMIT 200) f
      LEFT JOIN LATERAL (
           SELECT t.task_name, t.delivers_to, t.paused, t.paused_by FROM service_ops.background_task t
            WHERE t.kind = 'processor' AND f.source = ANY (t.sources) LIMIT 1) p ON true),
  line AS (
    -- It comes first, whatever the clocks say: of whoever wrote it, or of a page that had begun by then.
    SELECT m.inbox_id, least(m.source_created_at, m.created_at) AS place, m.source_created_at AS at, 1 AS turn, 'written' AS what, t.source_table AS who, format('row %s of the source', m.message_id) AS detail
      FROM m LEFT JOIN service_ops.background_task t ON t.task_name = m.source AND t.kind = 'poller'
     WHERE isfinite(m.source_created_at)
    UNION ALL
    SELECT m.inbox_id, m.created_at, m.created_at, 2, CASE WHEN m.is_refused THEN 'refused' ELSE 'taken in' END, coalesce(r.instance_id, l.to_instance),
           CASE WHEN r.run_id IS NOT NULL THEN format('by %s, pass %s (%s) of term %s: %s of %s rows were new', m.source, r.run_id, r.outcome, r.term, r.rows_inserted, r.rows_read)
                WHEN l.term IS NOT NULL THEN format('by %s in term %s, in no pass of the ledger: the sweep or a replay, as far as is known', m.source, l.term)
                WHEN m.source_created_at IS NOT NULL OR EXISTS (SELECT FROM service_ops.background_task t WHERE t.task_name = m.source AND t.kind = 'poller')
                THEN format('by %s', m.source)
                ELSE format('sent to POST /inbox/%s', m.source) END
           || format(', as %s (inbox_id %s)', m.message_id, m.inbox_id) || CASE WHEN m.is_refused THEN ': ' || m.last_error ELSE '' END
      FROM m
      LEFT JOIN LATERAL (
           SELECT c.to_instance, c.term FROM service_ops.leader_change c
            WHERE c.task_name = m.source AND c.at <= m.created_at ORDER BY c.change_id DESC LIMIT 1) l ON true
      -- The first pass that ended after it came. When a pass began is reckoned when it is written down, which may have waited; what an
      -- insert brought at once stands in the ledger with the pass that followed.
      LEFT JOIN LATERAL (
           SELECT p.* FROM (SELECT * FROM service_ops.poll_run p
                             WHERE p.poller = m.source AND p.started_at <= m.created_at + interval '1 second' AND p.outcome IN ('ran', 'late', 'backstop', 'failed', 'fenced')
                             ORDER BY p.started_at DESC LIMIT 20) p
            WHERE p.finished_at >= m.created_at AND (p.rows_inserted > 0 OR p.outcome IN ('failed', 'fenced'))
            ORDER BY p.started_at LIMIT 1) r ON true
    UNION ALL
    SELECT m.inbox_id, a.ended_at, a.ended_at, 4, a.outcome, a.instance_id,
           format('attempt %s of %s', a.attempt, m.max_attempts) || coalesce(', after ' || round((extract(epoch FROM a.ended_at - a.started_at) * 1000)::numeric) || ' ms', ', not begun')
           || coalesce(': ' || a.error, '')
      FROM m JOIN attempt a ON a.inbox_id = m.inbox_id
    UNION ALL
    -- What an older release wrote, which knows nothing of attempts.
    SELECT m.inbox_id, m.updated_at, m.updated_at, 4, lower(m.status), NULL, format('attempt %s of %s: %s', m.attempts, m.max_attempts, m.last_error)
      FROM m WHERE m.status IN ('FAILED', 'DEAD') AND NOT m.is_refused AND m.claim IS DISTINCT FROM m.told_claim
    UNION ALL
    -- Whoever names the message, or its trace, meant it. Of other filters it is not known what they found.
    SELECT m.inbox_id, a.at, a.at, 5, a.action, a.who,
           'by ' || a.how || CASE WHEN a.is_sure THEN '' ELSE format(', with %s messages in all, which may or may not have had this one among them', a.detail ->> 'messages') END
      FROM m CROSS JOIN LATERAL (
           SELECT o.at, o.action, o.who, o.how, o.detail, true AS is_sure
             FROM action o WHERE o.target = 'inbox ' || m.inbox_id
           UNION ALL
           SELECT o.at, o.action, o.who, o.how, o.detail, coalesce(o.detail -> 'ids' ? m.inbox_id::text, o.detail ->> 'trace' = $1, false)
             FROM action o
            WHERE o.target = 'inbox' AND o.at BETWEEN m.created_at AND coalesce(m.processed_at + interval '1 minute', 'infinity')
              AND coalesce(o.detail -> 'ids' ? m.inbox_id::text, true) AND coalesce(o.detail ->> 'trace' = $1, true) AND coalesce(o.detail -> 'sources' ? m.source, true)
              AND CASE o.action WHEN 'discard' THEN m.status = 'DISCARDED' WHEN 'retry' THEN m.told_claim IS NOT NULL OR m.is_refused ELSE false END) a
    UNION ALL
    SELECT m.inbox_id, s.at, s.at, 6, s.what, CASE WHEN m.status IN ('PROCESSING', 'DONE') THEN m.locked_by END, s.detail
      FROM m CROSS JOIN LATERAL (
           SELECT CASE m.status WHEN 'DONE' THEN m.processed_at WHEN 'DISCARDED' THEN m.processed_at WHEN 'FAILED' THEN m.next_attempt_at
                                WHEN 'PROCESSING' THEN coalesce(m.locked_at, m.updated_at) ELSE clock_timestamp() END AS at,
                  CASE m.status WHEN 'DONE' THEN CASE WHEN m.delivers_to IS NULL THEN 'done' ELSE 'delivered' END WHEN 'DISCARDED' THEN 'discarded'
                                WHEN 'FAILED' THEN 'next attempt' WHEN 'PROCESSING' THEN 'in work' ELSE 'waiting' END AS what,
                  CASE m.status
                    WHEN 'DONE' THEN concat_ws(', ', 'by ' || m.processor, 'to ' || m.delivers_to, format('attempt %s of %s', m.attempts, m.max_attempts))
                    WHEN 'DISCARDED' THEN 'finished without a handler'
                    WHEN 'FAILED' THEN format('attempt %s of %s', m.attempts + 1, m.max_attempts)
                    WHEN 'PROCESSING' THEN concat_ws(', ', 'by ' || m.processor,
                         CASE WHEN m.locked_at IS NULL THEN 'claimed ahead of its handler' ELSE format('attempt %s of %s', m.attempts, m.max_attempts) END)
                    ELSE CASE WHEN m.processor IS NULL THEN 'no processor takes messages of ' || m.source
                              WHEN m.paused THEN concat_ws(' by ', m.processor || ' is paused', m.paused_by)
                              ELSE format('for %s: no instance has it', m.processor) END END AS detail) s
     WHERE m.status <> 'DEAD'
    UNION ALL
    SELECT NULL, clock_timestamp(), clock_timestamp(), 8, 'and more', NULL, format('%s messages have this trace: these are the first 200', (SELECT count(*) FROM found))
     WHERE (SELECT count(*) > 200 FROM found)
    UNION ALL
    SELECT NULL, j.at, j.at, j.turn, j.what, CASE WHEN j.turn = 4 THEN c.locked_by END, regexp_replace(t.name, '^job\.', '') || coalesce(j.detail, '') || format(' (%s)', t.id)
      FROM jsonb_to_recordset(queued) t(id uuid, name text, state text, retry_count integer, created_on timestamptz, start_after timestamptz, started_on timestamptz, completed_on timestamptz, error text)
      LEFT JOIN service_ops.job_claim c ON c.queue = t.name AND c.job_id = t.id AND c.retry_count = t.retry_count
     CROSS JOIN LATERAL (
           VALUES (t.created_on, 3, CASE WHEN t.name = 'jobs.dead' THEN 'job given up' ELSE 'job sent' END, NULL),
                  (CASE WHEN t.name <> 'jobs.dead' AND t.state IN ('created', 'retry') AND t.start_after > t.created_on THEN t.start_after END, 7, 'job due',
                   CASE WHEN t.retry_count > 0 OR t.state = 'retry' THEN ': to be tried again' || coalesce(', after ' || t.error, '') END),
                  (CASE WHEN t.state <> 'created' THEN t.started_on END, 4, 'job started', format(', attempt %s', t.retry_count + 1)),
                  (t.completed_on, 6, CASE t.state WHEN 'completed' THEN 'job done' ELSE 'job ' || t.state END, CASE WHEN t.state <> 'completed' THEN ': ' || t.error END)) j(at, turn, what, detail)
     WHERE j.at IS NOT NULL
    UNION ALL
    SELECT NULL, clock_timestamp(), clock_timestamp(), 9, u.key || ' not read', NULL, u.value FROM jsonb_each_text(unread) u WHERE EXISTS (SELECT FROM found))
  SELECT l.at, round((extract(epoch FROM l.at - min(l.at) OVER ()) * 1000)::numeric, 3)::double precision, l.what, l.who,
         CASE WHEN l.inbox_id IS NOT NULL AND (SELECT count(*) > 1 FROM m) AND l.turn <> 2 THEN format('%s: ', (SELECT m.message_id FROM m WHERE m.inbox_id = l.inbox_id)) ELSE '' END || l.detail
    FROM line l
   ORDER BY l.place, l.turn, l.inbox_id;
END $trace$;
COMMENT ON FUNCTION service_ops.trace(text) IS 'The story of one trace, in order: when, milliseconds since its beginning, what happened, who did it (an instance, a person, a table), and the rest. What could not be read says so. No row: nothing has this trace id.';

DO $$ BEGIN
  ASSERT to_regprocedure('service_ops.trace(text)') IS NOT NULL, 'service_ops.trace(text) is missing';
  ASSERT to_regclass('service_ops.operator_action_by_target') IS NOT NULL, 'index operator_action_by_target is missing';
  INSERT INTO service_ops.schema_window (schema_version, oldest_code) VALUES (23, 5) ON CONFLICT DO NOTHING;
END $$;
