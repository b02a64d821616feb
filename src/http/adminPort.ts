/** What an operator's request may do; given by the runner. Each resolves to the number of the action on record. */
export interface AdminPort {
  /** @throws TaskUnknown */
  pause(task: string, paused: boolean, who: string): Promise<string>
  /** Asks for a pass and does not wait for it. @throws PollerUnknown, PollerPaused */
  poll(poller: string, who: string): Promise<string>
  /** @throws MessageUnknown, MessageRefused */
  change(action: 'retry' | 'discard', inboxId: string, who: string): Promise<string>
}
