-- The demo's own tables: a source that somebody else would write, and what its handler makes of the messages.
-- Sent as one message, so it is one transaction: instances that start together go through it one by one, where
-- CREATE TABLE IF NOT EXISTS alone would fail for one of them.
SELECT pg_advisory_xact_lock(hashtextextended('tidemark:demo-tables', 0));

CREATE TABLE IF NOT EXISTS service_ops.send_serviceops (
  message_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  created_at timestamptz NOT NULL DEFAULT now(),
  clinic_id  text NOT NULL,
  payload    jsonb NOT NULL,
  -- Its index serves the poller. Not CREATE INDEX: that would wait for the writers of a running demo each time.
  CONSTRAINT send_serviceops_cursor UNIQUE (created_at, message_id)
);
COMMENT ON TABLE service_ops.send_serviceops IS 'Demo: the source that message_poller reads.';
COMMENT ON COLUMN service_ops.send_serviceops.message_id IS 'Number of the message; drawn before its transaction commits.';
COMMENT ON COLUMN service_ops.send_serviceops.created_at IS 'Start of the writing transaction, which may commit after later ones.';
COMMENT ON COLUMN service_ops.send_serviceops.clinic_id IS 'Tenant.';
COMMENT ON COLUMN service_ops.send_serviceops.payload IS 'What the clinic asks for: patient, decision and score.';

CREATE TABLE IF NOT EXISTS service_ops.decision_packet (
  packet_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  clinic_id  text NOT NULL,
  patient_id text NOT NULL,
  decisions  integer NOT NULL DEFAULT 0,
  score      numeric NOT NULL DEFAULT 0,
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT decision_packet_key UNIQUE (clinic_id, patient_id)
);
COMMENT ON TABLE service_ops.decision_packet IS 'Demo: one packet per patient, got or created by the handler, updated under its row lock.';
COMMENT ON COLUMN service_ops.decision_packet.packet_id IS 'Number of the packet.';
COMMENT ON COLUMN service_ops.decision_packet.clinic_id IS 'Tenant.';
COMMENT ON COLUMN service_ops.decision_packet.patient_id IS 'Patient, unique per clinic.';
COMMENT ON COLUMN service_ops.decision_packet.decisions IS 'Messages that went into this packet: each exactly once.';
COMMENT ON COLUMN service_ops.decision_packet.score IS 'Sum of their scores.';
COMMENT ON COLUMN service_ops.decision_packet.updated_at IS 'When the newest one went in.';

CREATE TABLE IF NOT EXISTS service_ops.inbox_digest (
  digest_at timestamptz PRIMARY KEY DEFAULT now(),
  counts    jsonb NOT NULL
);
COMMENT ON TABLE service_ops.inbox_digest IS 'Demo: what the cron job inbox_digest writes every minute.';
COMMENT ON COLUMN service_ops.inbox_digest.digest_at IS 'When.';
COMMENT ON COLUMN service_ops.inbox_digest.counts IS 'Messages of the last hour by status.';
