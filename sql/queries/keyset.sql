-- What comes after the position in `me`, within its bounds: parts of the statements that take rows in and prove nothing.

-- name: dated
-- The rows with a time from low up to high, after the position. IS DISTINCT FROM leaves out the row at the position itself:
-- with > nobody could say where the lowest of all rows begins.
(tidemark_source.:"created_at", tidemark_source.:"id") >= (:"from_ts", (SELECT CASE WHEN me.scan_ts >= me.low THEN CAST(me.scan_id AS :"id_type") ELSE :"lowest_id" END FROM me))
   AND (tidemark_source.:"created_at", tidemark_source.:"id") IS DISTINCT FROM (:"scan_ts", CAST((SELECT me.scan_id FROM me) AS :"id_type"))
   AND tidemark_source.:"created_at" < :"high"

-- name: undated
-- The rows without a time, by id alone.
tidemark_source.:"created_at" IS NULL
   AND tidemark_source.:"id" >= coalesce(CAST((SELECT me.scan_id FROM me) AS :"id_type"), :"lowest_id")
   AND tidemark_source.:"id" IS DISTINCT FROM CAST((SELECT me.scan_id FROM me) AS :"id_type")
   AND EXISTS (SELECT FROM me)
