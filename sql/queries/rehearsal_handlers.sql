-- name: effect
-- $1 source, $2 message, $3 machine.
INSERT INTO tidemark_rehearsal.effect (source, message_id, machine) VALUES ($1, $2, $3);

-- name: run_began
-- $1 sources and $2 ids of the messages, $3 machine. Runs in the order of the messages.
INSERT INTO tidemark_rehearsal.handler_run (source, message_id, machine)
SELECT m.source, m.message_id, $3 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY m(source, message_id, n) ORDER BY m.n
RETURNING run_id;

-- name: run_ended
-- $1 runs, $2 outcome of each.
UPDATE tidemark_rehearsal.handler_run r SET outcome = e.outcome
  FROM unnest($1::bigint[], $2::text[]) e(run_id, outcome) WHERE r.run_id = e.run_id;

-- name: failed
-- $1 sources and $2 ids of the messages.
INSERT INTO tidemark_rehearsal.handler_failure (source, message_id) SELECT * FROM unnest($1::text[], $2::text[]);
