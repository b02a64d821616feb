-- name: write
-- $1 source, $2 rows. `columns`: in parentheses, or nothing. What is committed is noted by the very statement that writes it.
WITH made AS (
  INSERT INTO :"table" :"columns" SELECT :"values" FROM generate_series(1, $2::integer) RETURNING :"id"::text AS message_id)
INSERT INTO tidemark_rehearsal.written (source, message_id) SELECT $1, made.message_id FROM made RETURNING message_id;

-- name: write_by
-- $1 source. One row, by a statement of the user's.
WITH made AS (:"insert" RETURNING :"id"::text AS message_id)
INSERT INTO tidemark_rehearsal.written (source, message_id) SELECT $1, made.message_id FROM made RETURNING message_id;
