-- The world of one run: three sources that somebody else writes, what handlers make of their rows, and what is watched.

CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now(), payload jsonb NOT NULL DEFAULT '{}');
CREATE TABLE calls (LIKE orders INCLUDING ALL);
CREATE TABLE tally (LIKE orders INCLUDING ALL);
CREATE INDEX ON orders (at, id);
CREATE INDEX ON calls (at, id);
CREATE INDEX ON tally (at, id);

-- All rows of all sources, with what is expected of each: how often its handler fails before it succeeds.
CREATE VIEW source_row AS
  SELECT s.source, s.id::text AS message_id, s.at, coalesce((s.payload ->> 'failures')::integer, 0) AS failures,
         s.source = 'calls' AS outside, s.payload ->> 'behave' AS behave,
         -- What retention has forgotten was processed, and need not be in the inbox any more; its effect must be there.
         (s.at < (SELECT t.forgotten_before FROM service_ops.background_task t WHERE t.task_name = s.source)) IS TRUE AS forgotten
    FROM (SELECT 'orders' AS source, * FROM orders UNION ALL SELECT 'calls', * FROM calls UNION ALL SELECT 'tally', * FROM tally) s;

-- No key: a doubled effect must be seen, not refused.
CREATE TABLE effect (source text NOT NULL, message_id text NOT NULL, pid integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
-- Runs of external handlers, from the file that they note them in: it works while the database does not.
CREATE TABLE run (source text NOT NULL, message_id text NOT NULL, pid integer NOT NULL, began timestamptz NOT NULL, ended timestamptz, ok boolean);
-- Deaths that cost the external handlers that they met a second run, and their messages an attempt.
-- may_lose_answers: connections break, and with them the answer to a fetch of a job, which nobody knows of then until it expires.
-- pooled: a pooler keeps its own connections, under the name of whom it served last.
CREATE TABLE expectation (may_run_again boolean NOT NULL, may_burn boolean NOT NULL, may_lose_answers boolean NOT NULL, pooled boolean NOT NULL);

-- Processes that were killed or frozen, or ended by themselves: what they had run may run again, and may have cost an attempt.
CREATE TABLE disturbed (pid integer PRIMARY KEY, died boolean NOT NULL);

CREATE TABLE seen_watermark (seq bigint GENERATED ALWAYS AS IDENTITY, poller text, edge timestamptz, term bigint, pass bigint);
CREATE TABLE seen_leader (task_name text, term bigint, holder uuid, PRIMARY KEY (task_name, term, holder));
-- What an invariant found while the fault was under way.
CREATE TABLE found_meanwhile (name text, at timestamptz DEFAULT clock_timestamp(), found bigint, detail text);

-- Outcomes that their owner did not write, and messages that were finished and are not any more.
CREATE TABLE foul (inbox_id bigint, what text, writer text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION watch_outcome() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE writer text := current_setting('application_name');
BEGIN
  IF NEW.claim NOT IN (OLD.claim, OLD.claim + 1) THEN
    INSERT INTO foul VALUES (OLD.inbox_id, format('claim %s became %s', OLD.claim, NEW.claim), writer);
  END IF;
  IF OLD.status = 'DONE' THEN
    INSERT INTO foul VALUES (OLD.inbox_id, 'DONE became ' || NEW.status, writer);
  END IF;
  IF NEW.status = 'DONE' AND writer <> 'tidemark:' || OLD.locked_by THEN
    INSERT INTO foul VALUES (OLD.inbox_id, 'DONE by somebody else than ' || OLD.locked_by, writer);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER watch_outcome AFTER UPDATE ON service_ops.integration_inbox FOR EACH ROW EXECUTE FUNCTION watch_outcome();

-- Who wrote a watermark under each holder, from the takeover on; and what anybody else wrote under it.
CREATE TABLE holder_writer (holder uuid PRIMARY KEY, writer text NOT NULL);
CREATE TABLE stale_write (poller text, holder uuid, writer text, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION watch_watermark() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE who text := current_setting('application_name');
BEGIN
  IF who NOT LIKE 'tidemark:%' THEN RETURN NULL; END IF;
  IF TG_OP = 'INSERT' OR NEW.holder IS DISTINCT FROM OLD.holder THEN
    INSERT INTO holder_writer VALUES (NEW.holder, who) ON CONFLICT DO NOTHING;
  END IF;
  INSERT INTO stale_write (poller, holder, writer)
    SELECT NEW.poller, NEW.holder, who FROM holder_writer h WHERE h.holder = NEW.holder AND h.writer <> who;
  RETURN NULL;
END $$;
CREATE TRIGGER watch_watermark AFTER INSERT OR UPDATE ON service_ops.integration_poll_watermark
  FOR EACH ROW EXECUTE FUNCTION watch_watermark();
