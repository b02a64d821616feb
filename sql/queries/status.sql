-- What `tidemark status` and `/status` show.

-- name: document
-- One document from one snapshot. Numbers stay numbers and times keep their microseconds, which rows of a driver lose.
SELECT jsonb_build_object(
  'at', clock_timestamp(),
  'pollers', (SELECT coalesce(jsonb_agg(to_jsonb(p) || jsonb_build_object(
                       'paused_by', t.paused_by, 'paused_at', t.paused_at, 'paused_seconds', t.paused_seconds,
                       'wake', coalesce(k.is_on, false)) ORDER BY p.id), '[]')
                FROM service_ops.poller_status p JOIN service_ops.task_status t USING (id) LEFT JOIN service_ops.wake_status k USING (id)),
  'processors', (SELECT coalesce(jsonb_agg(to_jsonb(p) || jsonb_build_object('orphaned', t.orphaned,
                          'paused_by', t.paused_by, 'paused_at', t.paused_at, 'paused_seconds', t.paused_seconds,
                          'waited_seconds', round(extract(epoch FROM clock_timestamp() - c.since)::numeric, 1)) ORDER BY p.id), '[]')
                   FROM service_ops.processor_status p JOIN service_ops.task_status t USING (id)
                  -- Since when a message could have been claimed: the first fresh one of each source, and the first that is due
                  -- and that no operator holds by its key, among so many. CASE: by the primary key (see inbox.sql). In order, what
                  -- failed or is DEAD holds what comes behind it: while there is such, nothing is known of the others.
                  CROSS JOIN LATERAL (
                        SELECT min(least(
                                 (SELECT m.created_at FROM service_ops.integration_inbox m
                                   WHERE m.inbox_id > coalesce((SELECT w.low FROM service_ops.inbox_low_water w WHERE w.source = s.source), 0)
                                     AND CASE WHEN m.status = 'NEW' AND m.next_attempt_at IS NULL AND m.source = s.source THEN true ELSE false END
                                   ORDER BY m.inbox_id LIMIT 1),
                                 (SELECT min(d.next_attempt_at)
                                    FROM (SELECT m.next_attempt_at, left(m.group_key, 200) AS group_key FROM service_ops.integration_inbox m
                                           WHERE m.source = s.source AND m.next_attempt_at <= statement_timestamp() AND m.status IN ('NEW', 'FAILED')
                                           ORDER BY m.next_attempt_at LIMIT 1000) d
                                   WHERE NOT EXISTS (SELECT FROM service_ops.slot_limit l WHERE l.source = s.source AND l.paused AND l.group_key = d.group_key)))) AS since
                          FROM unnest(p.sources) s(source)
                          LEFT JOIN service_ops.slot_limit o ON o.source = s.source AND o.group_key = '*'
                         WHERE o.paused IS NOT TRUE
                           AND (o.ordered IS NOT TRUE
                                OR (SELECT true FROM service_ops.integration_inbox m
                                     WHERE m.source = s.source AND m.next_attempt_at > statement_timestamp()
                                     ORDER BY m.next_attempt_at LIMIT 1) IS NULL)) c),
  'jobs', (SELECT coalesce(jsonb_agg(jsonb_build_object('id', t.id, 'job', t.task_name, 'orphaned', t.orphaned,
                    'paused', t.paused, 'paused_by', t.paused_by, 'paused_at', t.paused_at, 'paused_seconds', t.paused_seconds) ORDER BY t.id), '[]')
             FROM service_ops.task_status t WHERE t.kind = 'job'),
  'slots', (
    -- What is in use or held by an operator: a key that ever had a message has a row, and there may be many thousands.
    SELECT coalesce(jsonb_agg(jsonb_build_object('source', l.source, 'group_key', l.group_key, 'paused', l.paused,
                      'max_slots', CASE WHEN d.ordered THEN least(coalesce(l.max_slots, d.max_slots, d.default_slots), 1)
                                        ELSE coalesce(l.max_slots, d.max_slots, d.default_slots) END,
                      'in_use', h.in_use, 'oldest_held_seconds', round(extract(epoch FROM clock_timestamp() - h.since)::numeric, 1),
                      'holders', h.holders) ORDER BY l.paused DESC, h.in_use DESC, l.source, l.group_key), '[]')
      FROM (SELECT * FROM service_ops.slot_limit l WHERE l.paused OR cardinality(l.held) > 0 ORDER BY l.paused DESC, l.source, l.group_key LIMIT 50) l
      LEFT JOIN service_ops.slot_limit d ON d.source = l.source AND d.group_key = '*'
     CROSS JOIN LATERAL (
           SELECT count(*) AS in_use, min(m.locked_at) AS since,
                  coalesce(array_agg(DISTINCT m.locked_by ORDER BY m.locked_by) FILTER (WHERE m.locked_by IS NOT NULL), '{}') AS holders
             FROM unnest(l.held, l.held_claims) u(inbox_id, claim)
            CROSS JOIN LATERAL (SELECT i.locked_at, i.locked_by FROM service_ops.integration_inbox i
                                 WHERE i.inbox_id = u.inbox_id AND i.claim = u.claim AND i.status = 'PROCESSING' LIMIT 1) m) h
     WHERE h.in_use > 0 OR l.paused),
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
