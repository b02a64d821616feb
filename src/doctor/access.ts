import { isLoopback } from '../config/settings.ts'
import { fault, note, warning, type Check, type Finding } from './check.ts'

/** Who may see and do what. */

export const dashboard: Check = {
  name: 'dashboard',
  title: 'Nobody but this machine sees the dashboard without the token.',
  async run({ settings }) {
    const { dashboard: who, host, port, opsPort } = settings
    if (who !== 'public' || isLoopback(host)) return []
    return [
      warning(
        `DASHBOARD is public and HOST is ${host}: whoever reaches port ${opsPort ?? port} sees \`/\` and \`/status\``,
        'set ADMIN_TOKEN and DASHBOARD=token, or HOST=127.0.0.1',
      ),
    ]
  },
}

/** A text of fewer different letters was typed, not drawn. */
const LEAST_LETTERS = 8

const DRAW = 'draw one: openssl rand -hex 32'

export const tokens: Check = {
  name: 'tokens',
  title: 'Whoever should send and act has a token that cannot be guessed, and nobody else has.',
  async run(context) {
    const { adminToken, intakeToken, databaseUrl } = context.settings
    const found: Finding[] = []
    for (const [name, token] of Object.entries({ ADMIN_TOKEN: adminToken, INTAKE_TOKEN: intakeToken })) {
      if (token !== undefined && new Set(token).size < LEAST_LETTERS) {
        const seen = `${name} has fewer than ${LEAST_LETTERS} different characters: it can be guessed`
        found.push(fault(seen, DRAW))
      }
    }
    if (adminToken !== undefined && adminToken === intakeToken) {
      const seen =
        'ADMIN_TOKEN and INTAKE_TOKEN are the same: whoever may send messages may act as an operator'
      found.push(fault(seen, DRAW))
    }
    // Whoever may act on an embedded database is on its machine, and has the command line.
    if (adminToken === undefined && databaseUrl !== undefined)
      found.push(note('ADMIN_TOKEN is not set: nobody may act by /admin', `set ADMIN_TOKEN; ${DRAW}`))
    for (const { name, secret } of context.config().intakes) {
      if (intakeToken !== undefined || secret !== null) continue
      const seen = `INTAKE_TOKEN is not set and intakes.${name} has no signature: nobody can send to /inbox/${name}`
      found.push(fault(seen, `set INTAKE_TOKEN; ${DRAW}`))
    }
    return found
  },
}
