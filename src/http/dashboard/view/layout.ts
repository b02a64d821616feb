import { html } from 'hono/html'
import type { Assets } from '../assets.ts'
import type { Session } from '../session.ts'
import { outside, type Html } from './text.ts'

/** The places that the head of every page leads to. */
export const PLACES = [
  ['now', '/', 'Now'],
  ['history', '/history', 'History'],
  ['messages', '/messages', 'Messages'],
  ['runs', '/runs', 'Runs'],
  ['jobs', '/jobs', 'Jobs'],
  ['verify', '/verify', 'Verify'],
  ['actions', '/actions', 'Actions'],
] as const
export type Place = (typeof PLACES)[number][0]

/** What all pages of one instance have in common. */
export interface House {
  readonly service: string
  readonly release: string
  readonly paths: Assets['paths']
  /** Whether anybody may act: there is an ADMIN_TOKEN. */
  readonly actions: boolean
}

/** Something that was done, said once. */
export interface Said {
  readonly kind: 'done' | 'refused'
  readonly text: string
}

export interface PageParts {
  readonly title: string
  /** Undefined: a page beside the others, such as the login. */
  readonly place?: Place | undefined
  readonly body: Html
  readonly session?: Session | undefined
  readonly formToken?: string | undefined
  readonly said?: Said | undefined
  /** Where the login leads back to. */
  readonly here: string
  readonly charts?: boolean
}

export function layout(house: House, parts: PageParts): Html {
  const { service, release, paths } = house
  const { title, place, body, said, charts = false } = parts
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex, nofollow" />
        <title>${title} · ${service}</title>
        <link rel="icon" href="${paths.icon}" type="image/svg+xml" />
        ${charts ? html`<link rel="stylesheet" href="${paths.chartCss}" />` : ''}
        <link rel="stylesheet" href="${paths.css}" />
        ${charts ? html`<script defer src="${paths.chartJs}"></script>` : ''}
        <script defer src="${paths.js}"></script>
      </head>
      <body>
        <a class="skip" href="#main">Skip to the content</a>
        <header class="top">
          <a class="brand" href="/">
            ${LOGO}
            <span class="brand-name">${service}</span>
            <span class="brand-release">${release}</span>
          </a>
          <nav aria-label="Pages">
            <ul>
              ${PLACES.map(([name, path, text]) => {
                const here = name === place
                return html`<li><a href="${path}" ${here ? html`aria-current="page"` : ''}>${text}</a></li>`
              })}
            </ul>
          </nav>
          ${account(house, parts)}
        </header>
        <main id="main" tabindex="-1">${said === undefined ? '' : notice(said)} ${body}</main>
        <footer class="foot">
          <p>Times are UTC, by the database's clock.</p>
          <p><a href="/status">/status</a> <a href="/health">/health</a></p>
        </footer>
      </body>
    </html>`
}

export function notice({ kind, text }: Said): Html {
  return html`<p class="notice notice-${kind}" role="status">${text}</p>`
}

function account({ actions }: House, { session, formToken, here, place }: PageParts): Html | string {
  if (!actions) return ''
  if (session === undefined)
    return place === undefined
      ? ''
      : html`<p class="account"><a href="/login?next=${encodeURIComponent(here)}">Log in to act</a></p>`
  return html`<form class="account" method="post" action="/logout">
    <input type="hidden" name="form_token" value="${formToken ?? ''}" />
    <span class="account-name">${outside(session.name)}</span>
    <button class="plain">Log out</button>
  </form>`
}

/** High water, and the line that it left. */
const LOGO = html`<svg class="logo" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
  <path class="logo-line" d="M2 6.5h20" />
  <path class="logo-water" d="M2 13c2.5-2.6 4.2-2.6 6.7 0s4.1 2.6 6.6 0 4.2-2.6 6.7 0v8H2z" />
</svg>`
