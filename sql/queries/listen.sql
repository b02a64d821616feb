-- The connection that listens: its heartbeat, and the end of the one before it.

-- name: lost_channels
-- $1 the channels that we listen to. Behind a transaction pooler the LISTEN went to somebody else's session.
SELECT w.channel FROM unnest($1::text[]) w(channel)
EXCEPT
SELECT l.channel FROM pg_listening_channels() l(channel)

-- name: backend
-- Who serves this session: a pid alone may be somebody else's by the time that it is ended.
SELECT a.pid, extract(epoch FROM a.backend_start)::text AS since FROM pg_catalog.pg_stat_activity a WHERE a.pid = pg_backend_pid();

-- name: end_former
-- $1 pid, $2 its start. Where the loss was silent the server still has that session, for hours by most systems' defaults;
-- nobody reads what it is told, and the server keeps every notification that it has not told all listeners. Behind a pooler
-- that session may serve somebody else by now, or this very connection: it must bear our name, be idle and not be this one.
SELECT pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
 WHERE a.pid = $1::integer AND extract(epoch FROM a.backend_start)::text = $2
   AND a.application_name = current_setting('application_name') AND a.state = 'idle' AND a.pid <> pg_backend_pid();
