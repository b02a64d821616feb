/** What the HTTP side needs of the metrics. */
export interface MetricsPort {
  /** The text of `GET /metrics`, and its type. Made seldom, however often it is asked for. */
  readonly contentType: string
  text(): Promise<string>
  /** A request is under way; call the result when it is answered. */
  requested(): () => void
}
