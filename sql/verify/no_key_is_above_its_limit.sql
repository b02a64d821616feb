-- title: No group key has more messages in work than the limit under which the newest of them was claimed.
-- meaning: Slots did not hold. An instance whose config has no slots for this source, or an older release, claims from it too.
-- scope: once
SELECT count(*) AS found, min(k.source || ' ' || k.group_key || ': ' || k.in_work || ' of ' || k.held_under) AS detail
  FROM (SELECT l.source, l.group_key, l.held_under, m.in_work
          FROM service_ops.slot_limit l
         CROSS JOIN LATERAL (
               SELECT count(*) AS in_work FROM service_ops.integration_inbox m
                WHERE m.source = l.source AND left(m.group_key, 200) = l.group_key AND m.next_attempt_at IS NOT NULL AND m.status = 'PROCESSING') m
         WHERE m.in_work > l.held_under) k
