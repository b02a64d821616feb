import { once } from 'node:events'
import { useEmbedded } from '../../src/db/embedded.ts'

/*
 * A process that uses the embedded server of the folder in its first argument: it prints what it got as one JSON line,
 * and leaves when its stdin ends. With a second argument N it uses and leaves the server N times instead.
 */
const [dataDir = '', rounds = '0'] = process.argv.slice(2)

for (let round = 0; round < Number(rounds); round += 1) {
  const server = await useEmbedded(dataDir, { durable: false })
  await server.leave()
}
if (rounds === '0') {
  const server = await useEmbedded(dataDir, { durable: false })
  process.stdout.write(`${JSON.stringify({ url: server.url, started: server.started })}\n`)
  await once(process.stdin.resume(), 'end')
  await server.leave()
}
