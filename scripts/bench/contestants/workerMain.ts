import { BATCHED, SINGLE } from './own.ts'
import { drainingProcessor } from './tidemark.ts'
import type { BenchProcessor } from './tidemark.ts'
import type { Said, Told } from './worker.ts'

/** How often it is told how many outcomes are written, while their number grows. */
const TELL_MS = 2

const CONFIGS = { batched: BATCHED, single: SINGLE }

const url = process.env['DATABASE_URL'] ?? ''
const [, , name = 'bench'] = process.argv
const say = (said: Said): void => void process.send?.(said)
let processor: BenchProcessor | undefined
let telling: NodeJS.Timeout | undefined

async function rest(): Promise<void> {
  clearInterval(telling)
  await processor?.close()
  processor = undefined
}

async function hear(told: Told): Promise<void> {
  if (told === 'start') {
    const running = processor
    let last = 0
    running?.start()
    telling = setInterval(() => {
      const finished = running?.finished ?? 0
      if (finished !== last) say({ finished })
      last = finished
    }, TELL_MS)
    return
  }
  if (told === 'rest') await rest()
  else processor = await drainingProcessor({ url }, CONFIGS[told.prepare], { instanceId: name })
  say('at ease')
}

process.on('message', (told: Told) => void hear(told))
// The bench ends it so, and so does the bench's own end.
process.once('disconnect', () => void rest())
say('at ease')
