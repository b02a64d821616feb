import { html } from 'hono/html'
import type { Invariant } from '../../../tables/dashboard.ts'
import type { InvariantResult } from '../../../tables/status.ts'
import { mark } from '../view/marks.ts'
import { counted, outside, short, whole, type Html } from '../view/text.ts'

export interface VerifyState {
  readonly invariants: readonly Invariant[]
  /** Undefined: not run yet. */
  readonly results: ReadonlyMap<string, readonly InvariantResult[]> | undefined
  readonly tookMs: number
}

export function verify({ invariants, results, tookMs }: VerifyState): Html {
  const all = [...(results?.values() ?? [])].flat()
  const broken = all.filter(({ ok }) => ok === false).length
  const unknown = all.filter(({ ok }) => ok === null).length
  const said =
    results === undefined
      ? mark('quiet', 'not run yet')
      : broken > 0
        ? mark('act', counted(broken, 'invariant does', 'invariants do') + ' not hold')
        : unknown > 0
          ? mark('watch', `${counted(unknown, 'invariant')} could not be checked`)
          : mark('good', 'every invariant holds')
  return html`<h1>Verify</h1>
    <form method="post" action="/verify" class="verify-run">
      <p class="verify-said">
        ${said}${results === undefined ? '' : html` <span class="dim">checked in ${whole(tookMs)} ms</span>`}
      </p>
      <button class="main">Run all now</button>
    </form>
    <ul class="invariants">
      ${invariants.map((invariant) => one(invariant, results?.get(invariant.name)))}
    </ul>`
}

function one(
  { name, title, meaning, query }: Invariant,
  found: readonly InvariantResult[] | undefined,
): Html {
  return html`<li class="invariant">
    <header>
      <h2>${title}</h2>
      ${(found ?? []).map(resultMark)}
      <code class="dim">${name}</code>
    </header>
    <p>If not: ${meaning}</p>
    ${(found ?? []).map(({ ok, detail }) => (ok === true ? '' : html`<p class="error-line">${short(firstOf(detail, meaning), 400)}</p>`))}
    <details>
      <summary>The SQL behind it</summary>
      <pre class="sql" tabindex="0">${outside(found?.[0]?.query ?? query)}</pre>
    </details>
  </li>`
}

/** `verify()` repeats the meaning before its example. */
function firstOf(detail: string, meaning: string): string {
  return detail.startsWith(meaning) ? detail.slice(meaning.length).trim() : detail
}

/** One that is run for each poller has a result for each. */
function resultMark({ name, ok, found }: InvariantResult): Html {
  const [, poller] = name.split(/:(.*)/s)
  const of = poller === undefined ? '' : html` for ${outside(poller)}`
  if (ok === null) return mark('watch', html`not checked${of}`)
  return ok ? mark('good', html`holds${of}`) : mark('act', html`${whole(found ?? 0)} found${of}`)
}
