import { SERVER_VARIABLE, throwawayServer } from '../support/server.ts'
import { FAULTS } from './all.ts'
import { runFault } from './run.ts'
const only = process.argv[2] ?? ''
const seeds = Number(process.argv[3] ?? 1)
const server = await throwawayServer()
process.env[SERVER_VARIABLE] = server.url
try {
  for (const fault of FAULTS.filter(({ name }) => name.startsWith(only)))
    for (let seed = 1; seed <= seeds; seed += 1) {
      const run = await runFault(fault, seed)
      process.stdout.write(`${JSON.stringify(run)}\n`)
    }
} finally {
  await server.end()
}
