import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { FAULTS } from './all.ts'
import { COMPARED } from './baselines/faults.ts'
import type { Fault } from './fault.ts'
import { seedsOf } from './fault.ts'
import { INVARIANTS } from './judge.ts'
import { SUITE_MUTANTS } from './mutants.ts'
import { PROGRAMS } from './program.ts'
import type { Kept, KeptTimes, Results } from './results.ts'
import { faultDigest } from './results.ts'
import { CHANGES } from './times.ts'

const FILE = join(resolve(import.meta.dirname, '../..'), 'docs/faults.md')

const INTRO = `# What Tidemark survives

Made by \`npm run faults\`; every run is in [faults.json](faults.json). Do not edit.

Each run: a real PostgreSQL, three real \`tidemark start\` processes, and writers whose transactions are short, long, rolled
back, prepared, serializable, chained, and two in one message. A transactional handler writes an effect row, an exclusive one
does too, and an external handler counts its runs. The fault happens under that load, which goes on until fresh rows are
processed again. Then everything comes to its end, all processes get SIGTERM, and the invariants below are asked. *Lost*: a
committed row that is not in the inbox or had no effect. *Doubled*: an effect that is there twice, or an external handler that
ran to its end a second time without the reason given below. *Ran again*: with that reason. *Burned*: attempts that no failure
of a handler explains. *Refused*: writes of former leaders. *Silence*: the longest time between two passes of a poller (they are
due every second).
`

/** Writes docs/faults.md from what is kept. */
export function writeReport(results: Results, code: string): void {
  const parts = [
    INTRO,
    table(results, code),
    reasons(),
    compared(results),
    times(results, code),
    mutants(results),
    invariants(),
    replay(),
  ]
  writeFileSync(FILE, parts.join('\n'))
}

const sum = (
  runs: readonly Kept[],
  key: 'rows' | 'lost' | 'doubled' | 'ranAgain' | 'burned' | 'staleRefused',
) => runs.reduce((total, run) => total + run[key], 0)

function table(results: Results, code: string): string {
  const lines = FAULTS.map((fault) => {
    const runs = results.runs.filter((run) => run.fault === fault.name && run.program === 'tidemark')
    const now = runs.filter((run) => run.code === code && run.suite === faultDigest(fault))
    return line(fault, runs, runs.length - now.length)
  })
  const total = results.runs.filter(({ program }) => program === 'tidemark')
  return [
    '## The faults',
    '',
    `${total.length} runs, ${sum(total, 'rows')} rows: ${sum(total, 'lost')} lost, ${sum(total, 'doubled')} doubled.`,
    '',
    '| fault | runs | rows | lost | doubled | ran again | burned | refused | silence |',
    '|---|---|---|---|---|---|---|---|---|',
    ...lines,
    '',
    `Code ${code}. †: so many of the runs were of an earlier state of the code or of the fault; docs/faults.json says which.`,
    '',
  ].join('\n')
}

function line(fault: Fault, runs: readonly Kept[], earlier: number): string {
  const name = `**${fault.name}**<br>${fault.title}`
  if (runs.length === 0) return `| ${name} | not run | | | | | | | |`
  const red = runs.filter(({ broken }) => broken.length > 0).length
  const silence = Math.max(...runs.map(({ silenceMs }) => silenceMs))
  const ran = `${runs.length} of ${seedsOf(fault)}${earlier > 0 ? `, ${earlier} †` : ''}${red > 0 ? `, ${red} RED` : ''}`
  const counts = (['rows', 'lost', 'doubled', 'ranAgain', 'burned', 'staleRefused'] as const).map((key) =>
    String(sum(runs, key)),
  )
  return `| ${[name, ran, ...counts, seconds(silence)].join(' | ')} |`
}

function reasons(): string {
  const again = FAULTS.filter((fault) => fault.mayRunAgain !== undefined || fault.mayBurn !== undefined)
  const without = FAULTS.flatMap((fault) =>
    Object.entries(fault.without ?? {}).map(([name, why]) => `- ${fault.name}, ${name}: ${why}`),
  )
  return [
    '## Where a second run or a burned attempt is right',
    '',
    'A handler whose process dies has used an attempt, and an external handler whose outcome could not be written runs again.',
    '',
    ...again.map(({ name, mayRunAgain, mayBurn }) => {
      const burn = mayBurn === undefined ? 'no attempt may be burned' : `an attempt: ${mayBurn}`
      return `- ${name}: ${mayRunAgain === undefined ? 'no second run' : `a second run: ${mayRunAgain}`}; ${burn}`
    }),
    '',
    ...(without.length > 0 ? ['Checks that a fault makes meaningless:', '', ...without, ''] : []),
  ].join('\n')
}

function invariants(): string {
  const list = INVARIANTS.map(({ name, title }) => `- \`${name}\`: ${title}`)
  return ['## What is asked after every run', '', ...list, ''].join('\n')
}

function times(results: Results, code: string): string {
  const lines = CHANGES.map(({ name, title, promisedMs }) => {
    const kept = results.times.find((one) => one.name === name)
    if (kept === undefined) return `| ${title} | not measured | | | | ${promised(promisedMs)} | |`
    return `| ${title}${kept.code === code ? '' : ' †'} | ${kept.ms.length} | ${shares(kept)} | ${promised(promisedMs)} | ${kept.load} |`
  })
  return [
    '## Time without anyone able to lead',
    '',
    'Milliseconds; a sample is one led task in one change, four tasks a change.',
    '',
    '| change | n | p50 | p99 | greatest | promised (p99) | load of the machine |',
    '|---|---|---|---|---|---|---|',
    ...lines,
    '',
  ].join('\n')
}

const PROGRAM_NAMES = ['naive', 'stock_queue', 'tidemark'] as const

function compared(results: Results): string {
  const cell = (program: string, fault: string): string => {
    const runs = results.runs.filter((run) => run.program === program && run.fault === fault)
    if (runs.length === 0) return 'not run | | |'
    const silence = Math.max(...runs.map(({ silenceMs }) => silenceMs))
    return `${sum(runs, 'rows')} in ${runs.length} | ${sum(runs, 'lost')} | ${sum(runs, 'doubled')} | ${seconds(silence)}`
  }
  const lines = COMPARED.map(
    ({ name, title }) =>
      `| **${name}**<br>${title} | ${PROGRAM_NAMES.map((program) => cell(program, name)).join(' | ')} |`,
  )
  const settings = PROGRAM_NAMES.filter((name) => name !== 'tidemark').flatMap((name) => [
    `**${PROGRAMS[name].title}**`,
    '',
    ...PROGRAMS[name].settings.map((setting) => `- ${setting}`),
    `- what makes no progress for ${PROGRAMS[name].stuckMs / 1000} s at the end of a run counts as lost`,
    '',
  ])
  return [
    '## Beside what people would write or pick instead',
    '',
    'The same stage, writers, handlers and faults (`npm run faults -- --compare`), rows in runs. The baselines are for comparison',
    'only and stand in `tests/faults/baselines`; an external handler that ran again where a fault explains it is not counted.',
    'Silence is between passes for Tidemark and between effects for the others. Stock pg-boss gets 30 rows a second, which is',
    'what its workers fetch, the others 120; it polls once a minute, so a run has few moments at which a late commit is lost.',
    '',
    `| fault | ${PROGRAM_NAMES.map((name) => `${PROGRAMS[name].title}: rows | lost | doubled | silence`).join(' | ')} |`,
    `|---|${'---|'.repeat(PROGRAM_NAMES.length * 4)}`,
    ...lines,
    '',
    'Their settings, with where each is recommended:',
    '',
    ...settings,
  ].join('\n')
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`

const promised = (ms: number): string => `≤ ${ms}`

function shares({ ms }: KeptTimes): string {
  const sorted = ms.toSorted((a, b) => a - b)
  const at = (share: number): number =>
    sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? 0
  return [at(0.5), at(0.99), sorted.at(-1) ?? 0].map((value) => Math.round(value)).join(' | ')
}

function mutants({ mutants: kept }: Results): string {
  const lines = SUITE_MUTANTS.map(({ name, why, fault, seed }) => {
    const known = kept.find((one) => one.name === name)
    const verdict = known === undefined ? 'not run' : known.caught ? known.seen : `ESCAPED: ${known.seen}`
    return `| **${name}**<br>${why} | ${fault} | ${known?.seed ?? seed} | ${verdict.replaceAll('|', '/')} |`
  })
  return [
    '## The suite can fail',
    '',
    'Builds with one safeguard taken out each, and what went red (`npm run faults -- --mutants`).',
    '',
    '| without | caught by | seed | what went red |',
    '|---|---|---|---|',
    ...lines,
    '',
  ].join('\n')
}

function replay(): string {
  return [
    '## See it again',
    '',
    '`npm run faults -- --only NAME --seed S` runs one line of the table; `--resume` goes on where a run was cut short;',
    '`--times` measures the times. A seed repeats what is written, whom the fault hits and when; the interleaving is the',
    "machine's.",
    '',
  ].join('\n')
}
