import { html } from 'hono/html'
import { NAME_LENGTH } from '../session.ts'
import { plain, type Html } from '../view/text.ts'

export interface LoginState {
  readonly next: string
  readonly name: string
  /** Why the last try was refused. */
  readonly refused: string | undefined
}

export function login({ next, name, refused }: LoginState): Html {
  return html`<div class="narrow">
    <h1>Log in</h1>
    <p>
      Payloads and actions are for whoever has this app’s <code>ADMIN_TOKEN</code>. What you do is on record
      under your name.
    </p>
    ${refused === undefined ? '' : html`<p class="notice notice-refused" role="alert">${refused}</p>`}
    <form method="post" action="/login" class="login">
      <input type="hidden" name="next" value="${plain(next)}" />
      <label class="field"
        ><span>Your name</span
        ><input
          name="name"
          required
          maxlength="${NAME_LENGTH}"
          autocomplete="username"
          value="${plain(name)}"
          autofocus
      /></label>
      <label class="field"
        ><span>Token</span><input name="token" type="password" required autocomplete="current-password"
      /></label>
      <div class="buttons"><button class="main">Log in</button></div>
    </form>
  </div>`
}

export interface ProblemState {
  readonly heading: string
  readonly text: string
  readonly traceId: string
}

/** Instead of a page that cannot be shown. */
export function problem({ heading, text, traceId }: ProblemState): Html {
  return html`<div class="narrow">
    <h1>${heading}</h1>
    <p>${text}</p>
    <p class="dim">In the log: trace <code>${traceId}</code></p>
    <p><a href="/">Back to Now</a></p>
  </div>`
}
