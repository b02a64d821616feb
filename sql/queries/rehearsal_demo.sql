-- name: write
-- One message of the demo's, as its own traffic writes them. It has no `;`: it becomes a part of another statement.
INSERT INTO service_ops.send_serviceops (clinic_id, payload)
SELECT c.clinic, jsonb_build_object('patient_id', c.clinic || '-' || floor(random() * 50), 'decision', 'admit', 'score', floor(random() * 100))
  FROM (SELECT (ARRAY['north', 'south', 'east', 'west'])[1 + floor(random() * 4)::integer] AS clinic) c
