import { html } from 'hono/html'
import type { Health } from './health.ts'

/** The first page: how this instance is, in a sentence, and where to look further. */
export function page(health: Health) {
  const { service, version, status, ready, database } = health
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width" />
        <title>${service}: ${status}</title>
        <style>
          :root {
            color-scheme: light dark;
          }
          body {
            font:
              1rem/1.6 system-ui,
              sans-serif;
            margin: 4rem auto;
            max-width: 40rem;
            padding: 0 1rem;
          }
        </style>
      </head>
      <body>
        <h1>${service}</h1>
        <p>
          Release ${version} is <strong>${status}</strong>: ${ready.replaceAll('_', ' ')}, database
          ${database}.
        </p>
        <ul>
          <li><a href="/status">/status</a>: leaders, pollers, backlog, processors, instances</li>
          <li><a href="/health">/health</a>: this instance, part by part</li>
          <li><a href="/ready">/ready</a>: whether it takes traffic</li>
          <li><a href="/live">/live</a>: whether it runs at all</li>
        </ul>
      </body>
    </html>`
}
