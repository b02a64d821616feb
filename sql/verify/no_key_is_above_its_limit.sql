-- title: No group key has more messages in work than the limit under which the newest of them was claimed.
-- meaning: Slots did not hold. An instance whose config has no slots for this source, or an older release, claims from it too.
-- scope: once
SELECT count(*) AS found, min(k.source || ' ' || k.group_key || ': ' || k.in_work || ' of ' || k.held_under) AS detail
  FROM (SELECT l.source, l.group_key, l.held_under, m.in_work
          FROM service_ops.slot_limit l
          JOIN (SELECT x.source, x.group_key, count(*) AS in_work
                  FROM (SELECT m.inbox_id, m.claim, m.source, left(m.group_key, 200) AS group_key, m.locked_by, m.locked_at, m.source_created_at
                  FROM service_ops.integration_inbox m WHERE m.next_attempt_at < 'infinity' AND m.status = 'PROCESSING'
                UNION ALL
                SELECT m.inbox_id, m.claim, m.source, left(m.group_key, 200), m.locked_by, m.locked_at, m.source_created_at
                  FROM service_ops.integration_inbox m
                 WHERE m.inbox_id > (SELECT min(coalesce(w.low, 0)) FROM service_ops.slot_limit d LEFT JOIN service_ops.inbox_low_water w USING (source) WHERE d.group_key = '*')
                   AND m.next_attempt_at IS NULL AND m.status = 'PROCESSING') x GROUP BY 1, 2) m ON m.source = l.source AND m.group_key = l.group_key
         WHERE m.in_work > l.held_under) k
