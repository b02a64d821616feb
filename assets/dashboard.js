// Keeps *Now* new, draws the charts, asks before what cannot be taken back. Every page can be read and used without it.
'use strict'

/** Makes `old` what `fresh` is, touching only what differs: focus, selection and what is open stay. */
function become(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return old.replaceWith(fresh)
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue
    return undefined
  }
  if (old.id === 'live') return undefined // ours
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name)
  for (const { name, value } of fresh.attributes)
    if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  const [olds, freshes] = [[...old.childNodes], [...fresh.childNodes]]
  freshes.forEach((node, n) => (n < olds.length ? become(olds[n], node) : old.append(node)))
  olds.slice(freshes.length).forEach((node) => node.remove())
  return undefined
}

function followNow() {
  if (document.getElementById('now') === null || typeof EventSource === 'undefined') return
  const parser = new DOMParser()
  const LOST_MS = 5_000
  let events
  let lost
  const say = (state, text) => {
    const live = document.getElementById('live')
    if (live === null) return
    live.hidden = false
    live.dataset.live = state
    if (live.textContent !== text) live.textContent = text
  }
  // A verdict of before would be taken for one of now. The next news puts it back.
  const unsay = (sentence) => {
    const verdict = document.querySelector('#now .verdict')
    const heading = verdict?.querySelector('h1')
    if (verdict === null || heading === null) return
    verdict.className = 'verdict verdict-act'
    heading.textContent = sentence
  }
  const open = () => {
    if (events !== undefined || document.hidden) return
    events = new EventSource('/now/events')
    events.addEventListener('now', ({ data }) => {
      const fresh = parser.parseFromString(data, 'text/html').getElementById('now')
      const old = document.getElementById('now')
      if (fresh === null || old === null) return
      clearTimeout(lost)
      lost = undefined
      become(old, fresh)
      say('on', 'live')
    })
    events.addEventListener('away', () => {
      clearTimeout(lost)
      lost = undefined
      say('away', 'the database does not answer; this is old')
      unsay('The database does not answer. What is shown here is old.')
    })
    events.addEventListener('error', () => {
      say('away', 'not connected; this is old')
      // A connection that comes to its end is followed by the next one within a second or two.
      lost ??= setTimeout(() => unsay('Not connected. What is shown here is old.'), LOST_MS)
      // Refused: a browser gives up then, and comes again only where the connection broke.
      if (events?.readyState === EventSource.CLOSED) {
        events = undefined
        setTimeout(open, 10_000)
      }
    })
  }
  const close = () => {
    clearTimeout(lost)
    lost = undefined
    events?.close()
    events = undefined
  }
  // Nobody looks at a page that is not in front, and each that is open is a connection.
  document.addEventListener('visibilitychange', () => (document.hidden ? close() : open()))
  addEventListener('pagehide', close)
  addEventListener('pageshow', open)
  open()
}

function askBefore() {
  document.addEventListener('submit', (event) => {
    const question = event.submitter?.dataset.confirm
    if (question !== undefined && !confirm(question)) event.preventDefault()
  })
}

function chooseAll() {
  const all = document.getElementById('choose-all')
  if (all === null) return
  all.closest('label').hidden = false
  const boxes = [...document.querySelectorAll('input[name=id][type=checkbox]')]
  all.addEventListener('change', () => boxes.forEach((box) => (box.checked = all.checked)))
  boxes.forEach((box) =>
    box.addEventListener('change', () => (all.checked = boxes.every(({ checked }) => checked))),
  )
}

const LINES = {
  light: ['#0a687a', '#c2741a', '#6a4fb3', '#1b7a49', '#b4231a', '#5a6c74', '#2a5fb8', '#8a3f74'],
  dark: ['#5cc7da', '#f0b35c', '#b9a3f5', '#58c78b', '#ff8f85', '#a3b4bb', '#86b2f5', '#e39aca'],
}

function drawCharts() {
  const data = document.getElementById('chronicle')
  if (data === null || typeof uPlot === 'undefined') return
  const { times, charts, changes } = JSON.parse(data.textContent)
  const dark = matchMedia('(prefers-color-scheme: dark)')
  let drawn = []
  const draw = () => {
    drawn.forEach((plot) => plot.destroy())
    drawn = [...document.querySelectorAll('.chart')].map((place) => {
      place.hidden = false
      return chart(place, times, charts[place.dataset.chart], changes, dark.matches)
    })
  }
  dark.addEventListener('change', draw)
  new ResizeObserver(() => {
    for (const plot of drawn) {
      const width = widthOf(plot.root.parentElement)
      if (plot.width !== width) plot.setSize({ width, height: plot.height })
    }
  }).observe(document.querySelector('.charts'))
  draw()
}

/** Steps of what is counted. */
const WHOLE = [1, 2, 5]
  .flatMap((n) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6].map((scale) => n * scale))
  .sort((one, other) => one - other)

/** The time of day, by 24 hours; at midnight the day. */
function clock(at) {
  const text = new Date(at * 1000).toISOString()
  return text.slice(11, 16) === '00:00' ? text.slice(5, 10) : text.slice(11, 16)
}

/** Day and time. */
const stamp = (at) => new Date(at * 1000).toISOString().slice(0, 16).replace('T', ' ')

const widthOf = (place) => Math.max(240, place.clientWidth - 16)

function chart(place, times, lines, changes, isDark) {
  const style = getComputedStyle(document.documentElement)
  const [ink, grid] = isDark ? ['#9bb0b9', '#1f2d34'] : ['#4b616b', '#e4ebee']
  const colours = isDark ? LINES.dark : LINES.light
  const { unit } = place.dataset
  const axis = {
    stroke: ink,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1 },
    font: `12px ${style.fontFamily || 'sans-serif'}`,
  }
  const options = {
    width: widthOf(place),
    height: 210,
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), 'Etc/UTC'),
    cursor: { points: { size: 6 }, sync: { key: 'history' } },
    scales: { y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.08 : 1] } },
    axes: [
      { ...axis, size: 28, values: (_plot, times) => times.map(clock) },
      {
        ...axis,
        size: 62,
        ...(unit === '' ? { incrs: WHOLE } : {}),
        values: (_plot, values) => values.map((value) => said(value, unit)),
      },
    ],
    legend: {
      markers: { fill: (_plot, n) => (n === 0 ? 'transparent' : colours[(n - 1) % colours.length]) },
    },
    series: [
      { value: (_plot, at) => (at === null ? '–' : stamp(at)) },
      ...lines.map(({ label }, n) => ({
        label,
        stroke: colours[n % colours.length],
        width: 1.5,
        // Two that are alike lie on each other: of the upper one, what is below is seen.
        ...(n % 2 === 1 ? { dash: [6, 4] } : {}),
        spanGaps: false,
        points: { show: lines.length > 0 && times.length < 3 },
        value: (_plot, value) => (value === null ? '–' : said(value, unit)),
      })),
    ],
    hooks: { draw: [(plot) => drawChanges(plot, changes, isDark)] },
  }
  return new uPlot(options, [times, ...lines.map(({ values }) => values)], place)
}

/** Who led changed: a thin line from top to bottom, with a mark at the top for what was taken from the dead. */
function drawChanges(plot, changes, isDark) {
  const { ctx, bbox } = plot
  ctx.save()
  for (const { at, reason } of changes) {
    const x = Math.round(plot.valToPos(at, 'x', true))
    if (x < bbox.left || x > bbox.left + bbox.width) continue
    const took = reason === 'took_over'
    ctx.strokeStyle = ctx.fillStyle = took ? (isDark ? '#e8b44f' : '#865800') : isDark ? '#5b727d' : '#8096a0'
    ctx.lineWidth = devicePixelRatio
    ctx.setLineDash(took ? [] : [3, 4])
    ctx.beginPath()
    ctx.moveTo(x, bbox.top)
    ctx.lineTo(x, bbox.top + bbox.height)
    ctx.stroke()
    const size = 4 * devicePixelRatio
    ctx.beginPath()
    ctx.moveTo(x - size, bbox.top)
    ctx.lineTo(x + size, bbox.top)
    ctx.lineTo(x, bbox.top + size * 1.5)
    ctx.fill()
  }
  ctx.restore()
}

function said(value, unit) {
  const short = (number) =>
    number >= 100 || Number.isInteger(number)
      ? Math.round(number).toLocaleString('en-US')
      : number.toPrecision(2)
  if (unit !== 's') return `${short(value)}${unit}`
  if (value < 1) return `${short(value * 1000)} ms`
  if (value < 120) return `${short(value)} s`
  return value < 7_200 ? `${short(value / 60)} min` : `${short(value / 3_600)} h`
}

followNow()
askBefore()
chooseAll()
drawCharts()
