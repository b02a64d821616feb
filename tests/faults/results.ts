import { createHash } from 'node:crypto'
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { inspect } from 'node:util'
import type { Fault } from './fault.ts'
import type { Run } from './run.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const FILE = join(ROOT, 'docs/faults.json')

/** What instances run: a result holds for these files alone. The rehearsal and the demo are not among what is tried. */
const CODE = ['src/**/*.ts', 'sql/**/*.sql', 'bin/*', 'package-lock.json']
const NOT_CODE = /^src\/(rehearse|demo)\/|^sql\/(rehearse|demo)\//

/** One run as it is kept: enough for the table and for `--resume`. */
export interface Kept {
  readonly program: string
  readonly fault: string
  readonly seed: number
  /** Digests of what was run and of the fault as it was then. */
  readonly code: string
  readonly suite: string
  readonly commit: string
  readonly rows: number
  readonly lost: number
  readonly doubled: number
  readonly ranAgain: number
  readonly burned: number
  readonly staleRefused: number
  readonly silenceMs: number
  readonly tookMs: number
  readonly broken: readonly string[]
}

/** Time without anyone able to lead: every sample of one kind of change. */
export interface KeptTimes {
  readonly name: string
  readonly code: string
  readonly commit: string
  readonly load: string
  readonly ms: readonly number[]
}

/** Whether a build without one safeguard was caught, and by what. */
export interface KeptMutant {
  readonly name: string
  readonly code: string
  readonly commit: string
  readonly caught: boolean
  readonly seed: number
  readonly seen: string
}

interface Content {
  runs: Kept[]
  times: KeptTimes[]
  mutants: KeptMutant[]
}

/** Digest of the files that an instance runs, as they stand in the folder now. */
export function codeDigest(root = ROOT): string {
  const hash = createHash('sha256')
  for (const file of CODE.flatMap((pattern) => globSync(pattern, { cwd: root })).sort())
    if (!NOT_CODE.test(file)) hash.update(`${file}\0`).update(readFileSync(join(root, file)))
  return hash.digest('hex').slice(0, 12)
}

/** Digest of a fault: its options and the text of what it does. */
export function faultDigest(fault: Fault): string {
  const text = inspect(fault, { depth: 5 }) + fault.happen.toString() + String(fault.prepare)
  return createHash('sha256').update(text).digest('hex').slice(0, 8)
}

/** Runs and times that are kept in `docs/faults.json`, which is written after each. */
export class Results {
  readonly #content: Content

  constructor() {
    // Written by this class.
    this.#content = existsSync(FILE)
      ? (JSON.parse(readFileSync(FILE, 'utf8')) as Content)
      : { runs: [], times: [], mutants: [] }
  }

  get runs(): readonly Kept[] {
    return this.#content.runs
  }

  get times(): readonly KeptTimes[] {
    return this.#content.times
  }

  /** The run of this fault and seed that holds for this code, if there is one. */
  find(program: string, fault: Fault, seed: number, code: string): Kept | undefined {
    const suite = faultDigest(fault)
    return this.#content.runs.find(
      (run) =>
        run.program === program &&
        run.fault === fault.name &&
        run.seed === seed &&
        run.code === code &&
        run.suite === suite,
    )
  }

  /** Whether a run of this fault and seed is kept, of whatever state of the code. */
  has(program: string, fault: Fault, seed: number): boolean {
    return this.#content.runs.some(
      (run) => run.program === program && run.fault === fault.name && run.seed === seed,
    )
  }

  /** Keeps a run in the place of what was known of its fault and seed. */
  keep(program: string, fault: Fault, run: Run, code: string, commit: string): void {
    const { seed, rows, lost, doubled, ranAgain, burned, staleRefused, silenceMs, tookMs, broken } = run
    const others = this.#content.runs.filter(
      (kept) => !(kept.program === program && kept.fault === fault.name && kept.seed === seed),
    )
    const kept: Kept = {
      program,
      fault: fault.name,
      seed,
      code,
      suite: faultDigest(fault),
      commit,
      rows,
      lost,
      doubled,
      ranAgain,
      burned,
      staleRefused,
      silenceMs,
      tookMs,
      broken,
    }
    this.#content.runs = [...others, kept]
    this.#write()
  }

  get mutants(): readonly KeptMutant[] {
    return this.#content.mutants
  }

  keepMutant(mutant: KeptMutant): void {
    this.#content.mutants = [...this.#content.mutants.filter(({ name }) => name !== mutant.name), mutant]
    this.#write()
  }

  keepTimes(times: KeptTimes): void {
    this.#content.times = [...this.#content.times.filter(({ name }) => name !== times.name), times]
    this.#write()
  }

  #write(): void {
    const { runs, times, mutants } = this.#content
    const parts = {
      runs: runs.toSorted(
        (a, b) => a.program.localeCompare(b.program) || a.fault.localeCompare(b.fault) || a.seed - b.seed,
      ),
      times: times.toSorted((a, b) => a.name.localeCompare(b.name)),
      mutants: mutants.toSorted((a, b) => a.name.localeCompare(b.name)),
    }
    // A line each, so that a change of one is a change of one line.
    const lines = (list: readonly object[]) => list.map((one) => `    ${JSON.stringify(one)}`).join(',\n')
    const texts = Object.entries(parts).map(([name, list]) => `  "${name}": [\n${lines(list)}\n  ]`)
    writeFileSync(FILE, `{\n${texts.join(',\n')}\n}\n`)
  }
}
