// The one stream of the page: the autoscaler's status as it changes. Closed while the tab is hidden.

import { Code } from '@connectrpc/connect'
import type { GetStatusResponse } from '../gen/dunlin/v1/autoscaler_service_pb'
import { Backoff } from '../rpc/backoff'
import { autoscaler } from '../rpc/clients'
import { failure } from '../rpc/failure'
import { keys } from '../rpc/keys.svelte'
import { pause, whileVisible } from '../shell/visible'
import { merged, type Sample, sample, trimmed } from './history'

/** The status comes at least each 5 s: after this much silence the connection is dead. */
const SILENCE_MS = 15_000
/** A gateway without an autoscaler is asked again, rarely. */
const WITHOUT_MS = 15_000

export type Link =
  | { state: 'connecting' | 'live' }
  | { state: 'lost'; why: string; until: number }
  | { state: 'none'; why: string } // a gateway answers, and has no autoscaler

class Watch {
  link = $state.raw<Link>({ state: 'connecting' })
  status = $state.raw<GetStatusResponse>()
  history = $state.raw<Sample[]>([])
  #backoff = new Backoff()
  #pausing: AbortController | undefined

  start(): () => void {
    return whileVisible((signal) => void this.#run(signal))
  }

  tryNow(): void {
    this.#pausing?.abort()
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const ms = await this.#stream(signal)
      if (signal.aborted) return
      this.#pausing = new AbortController()
      await pause(ms, AbortSignal.any([signal, this.#pausing.signal]))
    }
  }

  /** Until it breaks; then how long to wait. */
  async #stream(signal: AbortSignal): Promise<number> {
    const silence = new AbortController()
    let timer = setTimeout(() => silence.abort(), SILENCE_MS)
    try {
      const stream = autoscaler.watchStatus(
        {},
        { signal: AbortSignal.any([signal, silence.signal]) },
      )
      for await (const { status } of stream) {
        clearTimeout(timer)
        timer = setTimeout(() => silence.abort(), SILENCE_MS)
        if (status) this.#take(status)
      }
      throw new TypeError('the stream ended')
    } catch (thrown) {
      return signal.aborted ? 0 : await this.#broke(thrown, silence.signal.aborted)
    } finally {
      clearTimeout(timer)
    }
  }

  #take(status: GetStatusResponse): void {
    this.#backoff.reset()
    this.link = { state: 'live' }
    this.status = status
    const next = sample(status, this.history.at(-1))
    if (next) this.history = trimmed([...this.history, next])
  }

  /** Puts what was decided before, or while nobody looked, where nothing was seen. */
  remember(decided: Sample[]): void {
    this.history = trimmed(merged(this.history, decided))
  }

  async #broke(thrown: unknown, silent: boolean): Promise<number> {
    const why = failure(thrown)
    if (why.code === Code.Unimplemented || why.reason === 'SERVICE_UNAVAILABLE') {
      this.link = { state: 'none', why: why.sentence }
      return WITHOUT_MS
    }
    if (why.next === 'key') {
      this.link = { state: 'none', why: why.sentence }
      // A key that may classify and not look is a good key: it is not asked for another.
      if (why.code === Code.Unauthenticated) keys.ask('any', why.sentence)
      await keys.given()
      return 0
    }
    const ms = this.#backoff.next()
    const sentence = silent ? 'Dunlin has gone silent.' : why.sentence
    this.link = { state: 'lost', why: sentence, until: Date.now() + ms }
    return ms
  }
}

export const watch = new Watch()
