import { createInterface } from 'node:readline'
import { watchEventLoop } from '../../src/cli/watchdog.ts'

/*
 * A process with a watchdog, for its tests: it blocks its event loop for as long as a line of stdin says.
 */
const LIMIT_MS = 4_000
const watchdog = watchEventLoop({ serviceName: 's', logFormat: 'json' }, 'i', LIMIT_MS)
const lines = createInterface(process.stdin)
lines.on('line', (line) => {
  if (line === 'end') {
    process.stdin.destroy()
    void watchdog.stop()
    return
  }
  const ms = Number(line.replace('block for ', '').replace('ever', 'Infinity'))
  const startedAt = performance.now()
  while (performance.now() - startedAt < ms);
  process.stdout.write(`blocked for ${ms}\n`)
})
process.stdout.write('ready\n')
