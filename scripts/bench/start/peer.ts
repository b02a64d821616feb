import { loadPeer } from '../peers.ts'

/** A process of a peer: starts, sends one job to itself, and says so in the first line of the job's handler. */

const [, , name] = process.argv
const connectionString = process.env['DATABASE_URL'] ?? ''

async function started(): Promise<void> {
  process.send?.('started')
}

if (name === 'pg-boss') {
  const { PgBoss } = await loadPeer('pg-boss')
  const boss = new PgBoss({ connectionString, schema: 'bench_start_boss', useListenNotify: true })
  boss.on('error', () => undefined)
  await boss.start()
  await boss.createQueue('start', { notify: true })
  await boss.work('start', started)
  await boss.send('start', {})
} else {
  const worker = await loadPeer('graphile-worker')
  const runner = await worker.run({
    preset: { worker: { connectionString, logger: new worker.Logger(() => () => undefined) } },
    taskList: { start: started },
    noHandleSignals: true,
  })
  await runner.addJob('start', {})
}
