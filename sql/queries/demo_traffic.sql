-- name: write
-- $1 clinic, $2 payload.
INSERT INTO service_ops.send_serviceops (clinic_id, payload) VALUES ($1, $2::jsonb);

-- name: lock_traffic
-- One writer in the whole cluster, however many demos run.
SELECT pg_try_advisory_lock(hashtextextended('tidemark:demo-traffic', 0)) AS mine;
