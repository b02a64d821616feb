import { relative } from 'node:path'
import { isLoopback, readSettings } from '../../config/settings.ts'
import type { Settings } from '../../config/settings.ts'
import { SettingsInvalid } from '../../errors.ts'
import { CannotRun, fault, warning, type Check } from '../check.ts'
import { FlyTomlInvalid, readFly, type FlyApp } from './flyToml.ts'

/** The settings of a machine on Fly.io: what `[env]` says; what its secrets say nobody can see from here. */

/** Where a secret has to be there for the rest to be judged. */
const STAND_IN = { DATABASE_URL: 'postgres://user@host/database', TOKEN: 'stand-in-for-a-secret' }

const SECRETS = ['DATABASE_URL', 'DIRECT_DATABASE_URL', 'ADMIN_TOKEN', 'INTAKE_TOKEN']

/** @throws CannotRun when they cannot be used, which `fly_env` tells */
export function deployedSettings(app: FlyApp): Settings {
  try {
    return settingsOf(app)
  } catch (error) {
    if (!(error instanceof SettingsInvalid)) throw error
    throw new CannotRun(`[env] of ${app.file} cannot be used (see fly_env)`, 'mend it first', {
      cause: error,
    })
  }
}

function settingsOf({ env }: FlyApp): Settings {
  return readSettings({
    DATABASE_URL: STAND_IN.DATABASE_URL,
    ...(env['DASHBOARD'] === 'token' ? { ADMIN_TOKEN: STAND_IN.TOKEN } : {}),
    ...env,
  })
}

/** Groups of processes that are Tidemark's: those that name it, or all where none does. */
export function ownGroups({ groups }: FlyApp): readonly string[] {
  const all = Object.entries(groups)
  const named = all.filter(([, command]) => command === '' || /tidemark/.test(command))
  return (named.length === 0 ? all : named).map(([name]) => name)
}

export const flyFile: Check = {
  name: 'fly_file',
  title: 'fly.toml can be read.',
  async run(context) {
    try {
      context.fly()
      return []
    } catch (error) {
      // That there is none is no mistake; this one alone tells what is wrong with one that is there.
      if (!(error instanceof CannotRun) || !(error.cause instanceof FlyTomlInvalid)) throw error
      return [fault(error.cause.message, error.remedy)]
    }
  },
}

export const flyEnv: Check = {
  name: 'fly_env',
  title: "fly.toml's [env] has settings that can be used, that let Fly.io in, and no secrets.",
  async run(context) {
    const app = context.fly()
    const secrets = SECRETS.filter((name) => app.env[name] !== undefined).map((name) =>
      warning(
        `[env] of ${app.file} has ${name}: whoever reads the repository has it`,
        `fly secrets set ${name}=…, take it out of [env], and change it`,
      ),
    )
    try {
      const { host, dashboard } = settingsOf(app)
      if (isLoopback(host))
        return [
          ...secrets,
          fault(
            `[env] of ${app.file} has HOST=${host}: no check of Fly.io reaches the machine`,
            'take HOST out of [env]',
          ),
        ]
      if (dashboard !== 'public') return secrets
      const seen = `[env] of ${app.file} has DASHBOARD=public: whoever reaches the machine sees \`/\` and \`/status\``
      return [...secrets, warning(seen, 'fly secrets set ADMIN_TOKEN=…, and DASHBOARD="token"')]
    } catch (error) {
      if (!(error instanceof SettingsInvalid)) throw error
      const faults = error.faults.map(({ what, given, expected }) =>
        fault(
          `[env] of ${app.file}: ${what}${given === undefined ? '' : ` is ${JSON.stringify(given)}`}, and the machine would not start`,
          `${what}: ${expected}`,
        ),
      )
      return [...secrets, ...faults]
    }
  },
}

/** The file as a context gives it: read once; what is wrong with it is told to whoever asks. */
export function flyOf(path: string, cwd: string, isNamed: boolean): () => FlyApp {
  const found = readOrWhy(path, cwd, isNamed)
  return () => {
    if (found instanceof CannotRun) throw found
    return found
  }
}

function readOrWhy(path: string, cwd: string, isNamed: boolean): FlyApp | CannotRun {
  try {
    const app = readFly(path, cwd)
    if (app !== undefined) return app
    return new CannotRun(
      `there is no ${relative(cwd, path)}`,
      'none, where the app is not on Fly.io; else --fly FILE',
      {
        isOptional: !isNamed,
      },
    )
  } catch (cause) {
    if (!(cause instanceof FlyTomlInvalid)) throw cause
    return new CannotRun(`${relative(cwd, path)} cannot be read (see fly_file)`, 'mend that line of it', {
      cause,
    })
  }
}
