-- What /metrics reads of the whole system, whichever instance is asked; every few seconds at most.

-- name: numbers
-- $1 by source, after how many seconds in work a message is stuck, as {"source": seconds}; $2 the same for every other source; $3 group keys to be
-- named; $4 how much is looked at for a source that nobody works on. One document from one snapshot, by the same rules as the views of \d service_ops.*_status.
--
-- What is open is looked for as processor_status does it, for all sources in one walk over the primary key from the lowest mark on: 8 ms beside a
-- million finished messages. In stretches, each in the order of its index and with a limit: no other plan has a chance, whatever the statistics say.
-- What waits is asked for by a range that holds all of it: before 18, IS NOT NULL alone, without statistics, reads the whole source by another index.
-- Sources of tasks that nobody living has are left out, or a processor that was removed would make the walk longer each day. So would a source that
-- is filled and not worked on: its mark stays where it is, or there is none. Of such a one so much is looked at behind its mark, and so much of what
-- it has: what is open among these is all of it, unless there is more than that of both.
WITH alive AS MATERIALIZED (
  SELECT i.instance_id, i.tasks
    FROM service_ops.runner_instance i
   WHERE i.state <> 'stopped' AND i.last_seen_at > clock_timestamp() - interval '30 seconds'),
tasks AS MATERIALIZED (
  SELECT t.task_name, t.kind, t.sources
    FROM service_ops.background_task t
   WHERE EXISTS (SELECT FROM alive a WHERE t.task_name = ANY (a.tasks))),
sources AS MATERIALIZED (
  SELECT s.source, w.low, bool_or(s.worked) AND w.low IS NOT NULL AS walked
    FROM (SELECT unnest(t.sources) AS source, true AS worked FROM tasks t WHERE t.kind = 'processor'
           UNION SELECT t.task_name, false FROM tasks t WHERE t.kind = 'poller'
           UNION SELECT jsonb_object_keys($1::jsonb), false) s
    LEFT JOIN service_ops.inbox_low_water w USING (source)
   GROUP BY s.source, w.low),
open AS (
  SELECT m.source, m.status, m.group_key, m.locked_by, m.locked_at, m.updated_at, m.created_at
    FROM (SELECT min(s.low) AS low, (SELECT max(i.inbox_id) FROM service_ops.integration_inbox i) AS head FROM sources s WHERE s.walked) b
   CROSS JOIN LATERAL generate_series(b.low, b.head, 5000) g(above)
   CROSS JOIN LATERAL (SELECT i.* FROM service_ops.integration_inbox i
                        WHERE i.inbox_id > g.above AND i.inbox_id <= g.above + 5000 ORDER BY i.inbox_id LIMIT 5000) m
   WHERE m.status IN ('NEW', 'PROCESSING') AND m.next_attempt_at IS NULL
     AND m.source = ANY (ARRAY(SELECT s.source FROM sources s WHERE s.walked))
   UNION ALL
  SELECT m.source, m.status, m.group_key, m.locked_by, m.locked_at, m.updated_at, m.created_at
    FROM sources s
   CROSS JOIN LATERAL (
         (SELECT i.inbox_id, i.source, i.status, i.group_key, i.locked_by, i.locked_at, i.updated_at, i.created_at, i.next_attempt_at
            FROM service_ops.integration_inbox i WHERE i.inbox_id > s.low ORDER BY i.inbox_id LIMIT $4::integer)
          UNION
         (SELECT i.inbox_id, i.source, i.status, i.group_key, i.locked_by, i.locked_at, i.updated_at, i.created_at, i.next_attempt_at
            FROM service_ops.integration_inbox i WHERE i.source = s.source ORDER BY i.message_id LIMIT $4::integer)) m
   WHERE NOT s.walked AND m.source = s.source AND m.status IN ('NEW', 'PROCESSING') AND m.next_attempt_at IS NULL
   UNION ALL
  SELECT m.source, m.status, m.group_key, m.locked_by, m.locked_at, m.updated_at, m.created_at
    FROM sources s
   CROSS JOIN LATERAL (SELECT i.* FROM service_ops.integration_inbox i
                        WHERE i.source = s.source AND i.next_attempt_at BETWEEN '-infinity' AND 'infinity' ORDER BY i.next_attempt_at) m),
counted AS MATERIALIZED (
  SELECT o.source, o.status,
         CASE WHEN o.status = 'PROCESSING' THEN left(o.group_key, 200) END AS group_key,
         CASE WHEN o.status = 'PROCESSING' THEN o.locked_by END AS locked_by,
         count(*) AS n,
         min(o.created_at) FILTER (WHERE o.status <> 'DEAD') AS oldest_at,
         count(*) FILTER (WHERE o.created_at > clock_timestamp() - interval '2 hours' AND o.created_at <= clock_timestamp() - interval '1 hour') AS overdue,
         count(*) FILTER (WHERE o.status = 'PROCESSING' AND coalesce(o.locked_at, o.updated_at)
                                < clock_timestamp() - make_interval(secs => coalesce(($1::jsonb ->> o.source)::double precision, $2::double precision))) AS slow
    FROM open o
   GROUP BY 1, 2, 3, 4),
busy AS (
  SELECT c.source, c.group_key, sum(c.n) AS n, row_number() OVER (ORDER BY sum(c.n) DESC, c.source, c.group_key) AS place
    FROM counted c
   WHERE c.group_key IS NOT NULL
     AND EXISTS (SELECT FROM service_ops.slot_limit d WHERE d.source = c.source AND d.group_key = '*')
   GROUP BY c.source, c.group_key)
SELECT jsonb_build_object(
  'depths', (
    SELECT coalesce(jsonb_agg(jsonb_build_object('source', s.source, 'status', x.status, 'messages', coalesce(c.n, 0))), '[]')
      FROM sources s
     CROSS JOIN unnest(ARRAY['NEW', 'PROCESSING', 'FAILED', 'DEAD']) x(status)
      LEFT JOIN (SELECT source, status, sum(n) AS n FROM counted GROUP BY 1, 2) c USING (source, status)),
  'sources', (
    SELECT coalesce(jsonb_agg(jsonb_build_object('source', s.source,
             'oldest_s', coalesce(greatest(0, extract(epoch FROM clock_timestamp() - c.oldest_at)), 0),
             'overdue', coalesce(c.overdue, 0), 'stuck', coalesce(c.stuck, 0))), '[]')
      FROM sources s
      LEFT JOIN (SELECT k.source, min(k.oldest_at) AS oldest_at, sum(k.overdue) AS overdue,
                        sum(CASE WHEN k.status <> 'PROCESSING' THEN 0
                                 WHEN EXISTS (SELECT FROM alive a WHERE a.instance_id = k.locked_by) THEN k.slow ELSE k.n END) AS stuck
                   FROM counted k GROUP BY 1) c USING (source)),
  'slots', (
    SELECT coalesce(jsonb_agg(jsonb_build_object('source', b.source, 'group_key', b.group_key, 'messages', b.n)), '[]')
      FROM (SELECT source, CASE WHEN place <= $3::integer THEN group_key ELSE 'other' END AS group_key, sum(n) AS n FROM busy GROUP BY 1, 2) b),
  'pollers', (
    SELECT coalesce(jsonb_agg(jsonb_build_object('poller', p.poller, 'lag_s', p.lag_seconds, 'edge_lag_s', p.edge_lag_seconds)), '[]')
      FROM service_ops.poller_status p WHERE NOT p.orphaned),
  'instances', (
    SELECT coalesce(jsonb_agg(jsonb_build_object('state', i.state, 'release', i.release, 'instances', i.n)), '[]')
      FROM (SELECT state, release, count(*) AS n FROM service_ops.instance_status WHERE state <> 'stopped' GROUP BY 1, 2) i)
) AS numbers
