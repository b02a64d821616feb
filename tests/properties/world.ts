import { Client } from 'pg'
import type { Queryable } from '../../src/db/pool.ts'
import { prepareSource } from '../../src/ingest/sourceSql.ts'
import type { PreparedSource } from '../../src/ingest/sourceSql.ts'
import { describeSource } from '../../src/tables/source.ts'
import { Session } from './session.ts'

export const POLLER = 'tide'
export const ID_TYPES = ['bigint', 'text', 'uuid'] as const
export type IdType = (typeof ID_TYPES)[number]

/**
 * Pollers and half of the writers share a role, as an app and its Tidemark do: the pollers see when their sessions
 * began. The other writers have a role that the pollers may not look into: of them only pg_locks tells.
 */
export type Role = 'seen' | 'unseen'
const ROLES: Readonly<Record<Role, string>> = { seen: 'property_seen', unseen: 'property_unseen' }
/** The roles live in a throw-away server; there is nothing to protect. */
const PASSWORD = 'property'

/** Tables that somebody else writes, one for each type of id, with ids in no order of time. */
const OUTSIDE = `
  CREATE SCHEMA outside;
  CREATE SEQUENCE outside.number;
  CREATE TABLE outside.source_bigint (id bigint PRIMARY KEY DEFAULT nextval('outside.number'),
    created_at timestamptz NOT NULL DEFAULT now(), gate bigint, payload jsonb NOT NULL DEFAULT '{}');
  CREATE TABLE outside.source_text (id text PRIMARY KEY DEFAULT md5(nextval('outside.number')::text),
    created_at timestamptz NOT NULL DEFAULT now(), gate bigint, payload jsonb NOT NULL DEFAULT '{}');
  CREATE TABLE outside.source_uuid (id uuid PRIMARY KEY DEFAULT md5(nextval('outside.number')::text)::uuid,
    created_at timestamptz NOT NULL DEFAULT now(), gate bigint, payload jsonb NOT NULL DEFAULT '{}');
  CREATE INDEX ON outside.source_bigint (created_at, id);
  CREATE INDEX ON outside.source_text (created_at, id);
  CREATE INDEX ON outside.source_uuid (created_at, id);
  CREATE FUNCTION outside.wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_advisory_xact_lock_shared(NEW.gate); RETURN NULL; END $$;
  CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON outside.source_bigint DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.gate IS NOT NULL) EXECUTE FUNCTION outside.wait_at_gate();
  CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON outside.source_text DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.gate IS NOT NULL) EXECUTE FUNCTION outside.wait_at_gate();
  CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON outside.source_uuid DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.gate IS NOT NULL) EXECUTE FUNCTION outside.wait_at_gate();
  GRANT USAGE ON SCHEMA outside, service_ops TO property_seen, property_unseen;
  GRANT ALL ON ALL TABLES IN SCHEMA outside TO property_seen, property_unseen;
  GRANT ALL ON ALL SEQUENCES IN SCHEMA outside TO property_seen, property_unseen;
  GRANT ALL ON ALL TABLES IN SCHEMA service_ops TO property_seen;
  GRANT ALL ON ALL SEQUENCES IN SCHEMA service_ops TO property_seen;`

const EMPTY = `
  TRUNCATE outside.source_bigint, outside.source_text, outside.source_uuid, service_ops.integration_inbox,
    service_ops.integration_poll_watermark, service_ops.poll_candidate, service_ops.leader_term,
    service_ops.background_task_leader, service_ops.leader_change, service_ops.background_task RESTART IDENTITY;
  ALTER SEQUENCE outside.number RESTART;
  INSERT INTO service_ops.background_task (id, task_name, kind, led, config_hash, release)
  VALUES (1, '${POLLER}', 'poller', true, 'property', 'property')`

/** A migrated database in which schedules are played, one after the other. */
export class World {
  readonly admin: Client
  /** The database's name: ids of prepared transactions are the whole server's. */
  readonly name: string
  /** As superuser. */
  readonly url: string
  readonly #sessions: Session[] = []
  #gate = 0

  private constructor(url: string, admin: Client) {
    this.url = url
    this.name = new URL(url).pathname.slice(1)
    this.admin = admin
  }

  /** Adds tables that somebody else writes to a migrated database. `url`: as superuser. */
  static async create(url: string): Promise<World> {
    const world = await World.open(url)
    const { admin } = world
    for (const name of Object.values(ROLES)) {
      // Roles belong to the whole server, and several test files may come to make them at once.
      await admin.query(`DO $$ BEGIN CREATE ROLE ${name} LOGIN PASSWORD '${PASSWORD}';
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`)
    }
    await admin.query(OUTSIDE)
    return world
  }

  /** Comes back to a database that was created before, after its server crashed. */
  static async open(url: string): Promise<World> {
    const admin = new Client({ connectionString: url, application_name: 'property:admin' })
    admin.on('error', () => undefined)
    try {
      await admin.connect()
    } catch (error) {
      await admin.end()
      throw error
    }
    return new World(url, admin)
  }

  /** Removes every row; the schedule before must have ended. */
  async empty(): Promise<void> {
    await this.admin.query(EMPTY)
    this.#gate = 0
  }

  urlOf(role: Role): string {
    const url = new URL(this.url)
    url.username = ROLES[role]
    url.password = PASSWORD
    return url.href
  }

  async session(name: string, role: Role): Promise<Session> {
    const session = await Session.open(name, this.urlOf(role))
    this.#sessions.push(session)
    return session
  }

  table(idType: IdType): string {
    return `outside.source_${idType}`
  }

  async source(idType: IdType): Promise<PreparedSource> {
    const options = { id: 'id', createdAt: 'created_at', payload: 'payload', groupKey: null, traceId: null }
    const table = this.table(idType)
    const relation = await describeSource(this.admin, table)
    return prepareSource({ table, ...options, where: null, timeZone: null, latenessMs: 0 }, relation)
  }

  /** Closes a gate: whoever takes its lock, shared, waits until it is opened. */
  async closeGate(): Promise<number> {
    this.#gate += 1
    await this.admin.query('SELECT pg_advisory_lock($1)', [this.#gate])
    return this.#gate
  }

  async openGate(gate: number): Promise<void> {
    await this.admin.query('SELECT pg_advisory_unlock($1)', [gate])
  }

  /** Who leads, as evidence for a forced takeover. */
  async leader(db: Queryable = this.admin): Promise<{ holder: string; term: string } | undefined> {
    const { rows } = await db.query<{ holder: string; term: string }>(
      'SELECT holder, term FROM service_ops.background_task_leader WHERE task_name = $1',
      [POLLER],
    )
    return rows[0]
  }

  async rollBackPrepared(): Promise<void> {
    const { rows } = await this.admin.query<{ gid: string }>(
      'SELECT gid FROM pg_prepared_xacts WHERE database = current_database()',
    )
    for (const { gid } of rows) await this.admin.query(`ROLLBACK PREPARED ${this.admin.escapeLiteral(gid)}`)
  }

  async close(): Promise<void> {
    await Promise.all(this.#sessions.splice(0).map((session) => session.close()))
    await this.admin.end()
  }
}
