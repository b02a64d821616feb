import { shutdownBySignals, type Stoppable } from '../../src/cli/signals.ts'
import { createLog } from '../../src/telemetry/log.ts'

/*
 * A process around a runner that does nothing, for tests of signals. It says each step on stdout; the drain ends
 * only by SIGUSR2, a start that hangs by nothing.
 */
const [how = 'runs'] = process.argv.slice(2)
const say = (step: string): void => void process.stdout.write(`${step}\n`)
const drained = Promise.withResolvers<undefined>()
process.on('SIGUSR2', () => drained.resolve(undefined))
// As a runner's connections would, this keeps the process alive.
const alive = setInterval(() => {}, 60_000)

const runner: Stoppable = {
  async start() {
    say('starting')
    if (how === 'fails') throw new RangeError('no luck')
    if (how.startsWith('crashes')) setImmediate(() => void JSON.parse('{'))
    if (how.startsWith('exits ')) setImmediate(() => process.exit(Number(how.slice(6))))
    if (how === 'hangs' || how === 'crashes while it starts') await drained.promise
  },
  async stop(reason) {
    say(`stop ${String(reason)}`)
    if (how === 'is told twice') {
      process.once('SIGINT', () => say('signalled'))
      process.kill(process.pid, 'SIGINT')
    }
    await drained.promise
    if (how === 'drains badly') throw new Error('stuck')
  },
  async abort() {
    say('abort')
  },
}

const log = createLog({ service: 's', instanceId: 'i' })
const code = await shutdownBySignals(runner, log, () => say('ready'))
clearInterval(alive)
process.exit(code)
