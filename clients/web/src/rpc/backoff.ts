// How long to wait before the next attempt at something that failed.

const FIRST_MS = 500
// Short enough that a restarted gateway is found before one gives up looking at the page.
const LONGEST_MS = 8_000

export class Backoff {
  #failures = 0

  /** Each one twice the last, up to a limit; a fifth of it by chance, so that pages do not come in step. */
  next(chance: number = Math.random()): number {
    const pause = Math.min(FIRST_MS * 2 ** this.#failures, LONGEST_MS)
    this.#failures += 1
    return Math.round(pause * (0.8 + 0.2 * chance))
  }

  reset(): void {
    this.#failures = 0
  }
}
