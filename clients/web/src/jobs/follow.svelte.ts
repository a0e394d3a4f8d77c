// One job as it goes on. The stream is closed while the tab is hidden and goes on after what was seen last.

import type { Job } from '../gen/dunlin/v1/job_service_pb'
import type { ImageResult } from '../gen/dunlin/v1/types_pb'
import { Backoff } from '../rpc/backoff'
import { jobs } from '../rpc/clients'
import { failure } from '../rpc/failure'
import { keys } from '../rpc/keys.svelte'
import { pause, whileVisible } from '../shell/visible'
import { hasEnded } from './job'

/** Results on the page; all of them are in the files to save. */
export const SHOWN_MAX = 200
/** Results come by the hundred a second: the page is told at most so often. */
const TELL_MS = 150

export class Follow {
  job = $state.raw<Job>()
  /** The latest first. */
  results = $state.raw<ImageResult[]>([])
  wrong = $state('')
  lost = $state('')
  #after = 0n
  #backoff = new Backoff()
  #fresh: ImageResult[] = []
  #telling: ReturnType<typeof setTimeout> | undefined

  constructor(readonly name: string) {}

  start(): () => void {
    return whileVisible((signal) => void this.#run(signal))
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !this.wrong) {
      try {
        await this.#watch(signal)
        if (this.job && hasEnded(this.job)) return
        throw new TypeError('the stream ended before the job')
      } catch (thrown) {
        if (!signal.aborted) await this.#broke(thrown, signal)
      }
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    this.job = (await jobs.getJob({ name: this.name }, { signal })).job
    const request = { name: this.name, afterSequence: this.#after }
    for await (const { sequence, event } of jobs.watchJob(request, { signal })) {
      this.#backoff.reset()
      this.lost = ''
      if (event.case === 'heartbeat') continue
      this.#after = sequence
      if (event.case === 'job') this.job = event.value
      if (event.case === 'result') this.#take(event.value)
    }
  }

  #take(result: ImageResult): void {
    this.#fresh.push(result)
    this.#telling ??= setTimeout(() => {
      this.results = [...this.#fresh.splice(0).toReversed(), ...this.results].slice(0, SHOWN_MAX)
      this.#telling = undefined
      void this.#count()
    }, TELL_MS)
  }

  /** The job's own counts do not come with each result. */
  async #count(): Promise<void> {
    if (!this.job || hasEnded(this.job)) return
    const { job } = await jobs.getJob({ name: this.name }).catch(() => ({ job: undefined }))
    if (job && this.job && !hasEnded(this.job)) this.job = job
  }

  async #broke(thrown: unknown, signal: AbortSignal): Promise<void> {
    const why = failure(thrown)
    if (why.next === 'give-up') {
      this.wrong = why.sentence
    } else if (why.next === 'key') {
      keys.ask('any', why.sentence)
      await keys.given()
    } else {
      this.lost = why.sentence
      await pause(why.retryAfterMs ?? this.#backoff.next(), signal)
    }
  }

  async cancel(): Promise<void> {
    try {
      this.job = (await jobs.cancelJob({ name: this.name })).job ?? this.job
    } catch (thrown) {
      this.lost = failure(thrown).sentence
    }
  }

  /** All results there are so far, by index. */
  async all(): Promise<ImageResult[]> {
    const found: ImageResult[] = []
    let pageToken = ''
    do {
      const page = await jobs.listJobResults({ parent: this.name, pageSize: 1000, pageToken })
      found.push(...page.results)
      pageToken = page.nextPageToken
    } while (pageToken)
    return found
  }
}
