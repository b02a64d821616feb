/**
 * Wraps a question so that many who ask at once share one answer, which is given again for `keepMs`. A failure is not
 * kept.
 */
export function oneAnswer<A, T>(keepMs: number, ask: (about: A) => Promise<T>): (about: A) => Promise<T> {
  let answer: Promise<T> | undefined
  let keepUntil = 0
  return (about) => {
    if (answer === undefined || performance.now() >= keepUntil) {
      const asked = ask(about)
      answer = asked
      keepUntil = Number.POSITIVE_INFINITY
      asked.then(
        () => (keepUntil = performance.now() + keepMs),
        () => (answer = undefined),
      )
    }
    return answer
  }
}
