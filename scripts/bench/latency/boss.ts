import { loadPeer } from '../peers.ts'
import type { Racer, RacerOptions } from './racer.ts'

export const BOSS = 'pg-boss, send, LISTEN/NOTIFY'

export async function boss({ url, started }: RacerOptions): Promise<Racer> {
  const { PgBoss } = await loadPeer('pg-boss')
  const pg = new PgBoss({ connectionString: url, schema: 'bench_boss', useListenNotify: true })
  pg.on('error', () => undefined)
  await pg.start()
  await pg.createQueue('push', { notify: true })
  await pg.work('push', () => {
    started()
    return Promise.resolve()
  })
  return {
    ways: [
      {
        name: BOSS,
        async add(n) {
          await pg.send('push', { n })
        },
      },
    ],
    close: () => pg.stop(),
  }
}
