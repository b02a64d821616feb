import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './port.ts'
import type { Scope } from './scope.ts'
import { until } from './until.ts'

export interface PrometheusOptions {
  /** `host:port` of what is scraped, every two seconds. */
  readonly targets: readonly string[]
  /** Texts of rule files. */
  readonly rules: readonly string[]
}

export interface Alert {
  readonly labels: Readonly<Record<string, string>>
  readonly state: 'pending' | 'firing'
}

/** A real Prometheus, in a folder of its own; it is ended with the test. */
export interface Prometheus {
  /** Alerts that fire now, or have fired since the start: their names. */
  firing(): Promise<string[]>
  /** The first value of an expression now. */
  value(expr: string): Promise<number | undefined>
}

export async function startPrometheus(
  scope: Scope,
  { targets, rules }: PrometheusOptions,
): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), 'tidemark-prometheus-'))
  const files = rules.map((_, i) => join(folder, `rules-${i}.yml`))
  await Promise.all(files.map((file, i) => writeFile(file, rules[i] ?? '')))
  await writeFile(
    join(folder, 'prometheus.yml'),
    [
      'global: { scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s }',
      `rule_files: ${JSON.stringify(files)}`,
      'scrape_configs:',
      `  - { job_name: tidemark, static_configs: [{ targets: ${JSON.stringify(targets)} }] }`,
    ].join('\n'),
  )
  const address = `127.0.0.1:${await freePort()}`
  const child = spawn(
    'prometheus',
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
      '--log.level=warn',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  )
  let said = ''
  child.stderr.on('data', (text: Buffer) => (said += text.toString()))
  const exited = new Promise<void>((done) => child.once('close', () => done()))
  scope.after(async () => {
    child.kill('SIGKILL')
    await exited
    await rm(folder, { recursive: true, force: true })
  })

  async function ask<T>(path: string): Promise<T> {
    const response = await fetch(`http://${address}/api/v1/${path}`)
    // Of Prometheus' own API, whose answers have this form.
    const answer = (await response.json()) as { status: string; data: T; error?: string }
    if (answer.status !== 'success') throw new Error(`${path}: ${answer.error ?? response.status}`)
    return answer.data
  }
  const query = (expr: string) =>
    ask<{ result: { metric: Record<string, string>; value: [number, string] }[] }>(
      `query?query=${encodeURIComponent(expr)}`,
    )

  await until('Prometheus to be ready', async () => {
    if (child.exitCode !== null) throw new Error(`Prometheus ended: ${said}`)
    return fetch(`http://${address}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    )
  })
  return {
    async firing() {
      const { result } = await query(`count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[1h]))`)
      return result.map(({ metric }) => metric['alertname'] ?? '').sort()
    },
    async value(expr) {
      const { result } = await query(expr)
      const [first] = result
      return first === undefined ? undefined : Number(first.value[1])
    },
  }
}
