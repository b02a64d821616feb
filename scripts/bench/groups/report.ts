import Table from 'cli-table3'
import { LIMIT } from './load.ts'
import type { Figures, Load } from './trial.ts'

/** The result as people read it: a row a figure, a column a contestant. */
export function groupsText(load: Load, figures: readonly Figures[]): string {
  const table = new Table({
    head: ['', ...figures.map(({ contestant, version }) => `${contestant} ${version}`)],
    style: { head: [], border: [], compact: true },
  })
  const row = (what: string, value: (figures: Figures) => string): void => {
    table.push([what, ...figures.map(value)])
  }
  row(`handlers of one tenant at once, at most (limit ${LIMIT})`, ({ most }) => String(most))
  row('handlers that began above the limit', ({ startsAbove, starts }) => `${startsAbove} of ${starts}`)
  row('tenants above the limit', ({ tenantsAbove }) => `${tenantsAbove} of ${load.tenants}`)
  row('time above the limit, tenants together', ({ secondsAbove }) => `${secondsAbove.toFixed(1)} s`)
  row('messages done', ({ done, messages }) => `${done} of ${messages}`)
  row('messages lost', ({ lost }) => String(lost))
  row('in a handler when its process was killed', ({ cut }) => String(cut))
  row('messages run more than once', ({ again }) => String(again))
  row('… and not because of a kill', ({ againUnkilled }) => String(againUnkilled))
  row('slots in use when all was done', ({ held }) => String(held))
  row(`tenants with ${LIMIT} at once afterwards`, ({ tenantsFull }) => `${tenantsFull} of ${load.tenants}`)
  row('time for the part with kills', ({ seconds }) => `${seconds.toFixed(1)} s`)
  row('messages a second, a burst with nobody killed', ({ perSecond }) => perSecond.toFixed(0))
  const told = figures.map(
    ({ contestant, version, settings, promise }) =>
      `${contestant} ${version}: ${settings}\n  it promises: “${promise}”\n`,
  )
  return `\n${loadText(load)}\n${table.toString()}\n${told.join('')}`
}

function loadText({ tenants, messages, processes, kills, everyMs }: Load): string {
  return (
    `${tenants} tenants, ${messages} messages in bursts, ${processes} processes, ` +
    `one killed every ${everyMs / 1000} s, ${kills} in all`
  )
}

/** What Tidemark promises and did not hold; the bench ends with 1 then. */
export function broken({ contestant, most, lost, held, tenantsFull }: Figures, load: Load): string[] {
  return [
    ...(most > LIMIT ? [`${contestant} had ${most} handlers of one tenant at once (at most ${LIMIT})`] : []),
    ...(lost > 0 ? [`${contestant} lost ${lost} messages`] : []),
    ...(held > 0 ? [`${contestant} still holds ${held} slots`] : []),
    ...(tenantsFull < load.tenants
      ? [`${contestant} has lost slots of ${load.tenants - tenantsFull} tenants`]
      : []),
  ]
}
