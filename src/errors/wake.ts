/** An insert cannot be made to wake this poller; `problem` and `remedy` say why and what to do. */
export class WakeRefused extends Error {
  override readonly name = 'WakeRefused'
  constructor(poller: string, problem: string, remedy: string) {
    super(`${poller} cannot be woken by inserts: ${problem}. Remedy: ${remedy}`)
  }
}
