// All pictures of the page and the calls that classify them: few at a time, few pictures in each,
// started again where the connection breaks.

import type { ClassifyStreamResponse } from '../gen/dunlin/v1/classifier_service_pb'
import { ImageState } from '../gen/dunlin/v1/types_pb'
import { Backoff } from '../rpc/backoff'
import { classifier } from '../rpc/clients'
import { type Failure, failure, failureOf } from '../rpc/failure'
import { keys } from '../rpc/keys.svelte'
import { pause } from '../shell/visible'
import { HEAD_BYTES, refusal } from './accept'
import { ended, type Happening, type Life, step, underWay, waitsToBeSent } from './life'
import { parcel, STREAMS_MAX } from './parcels'
import { thumbnail } from './thumbnail'

/** A picture is sent again so often because its server was full or went away while it waited. */
const TIMES_MAX = 20
/** Where a full server does not say when to come back. */
const LATER_MS = 2_000

export class Picture {
  life = $state.raw<Life>({ stage: 'next' })
  shown = $state<string>()
  times = 0

  constructor(
    readonly id: string,
    readonly file: File,
  ) {}

  happens(happening: Happening): void {
    this.life = step(this.life, happening)
  }
}

interface Call {
  pictures: Picture[]
  abort: AbortController
}

export class Board {
  pictures = $state.raw<Picture[]>([])
  /** Why nothing is sent just now, and until when. */
  held = $state.raw<{ why: string; until: number | undefined }>()
  #calls = new Set<Call>()
  #backoff = new Backoff()
  #named = 0
  #release: AbortController | undefined

  counts = $derived.by(() => {
    const counts = {
      total: this.pictures.length,
      waiting: 0,
      running: 0,
      done: 0,
      failed: 0,
      cancelled: 0,
    }
    for (const { life } of this.pictures) {
      if (life.stage === 'done') counts.done += 1
      else if (life.stage === 'failed') counts.failed += 1
      else if (life.stage === 'cancelled') counts.cancelled += 1
      else if (life.stage === 'running') counts.running += 1
      else counts.waiting += 1
    }
    return {
      ...counts,
      open: counts.waiting + counts.running,
      ended: counts.total - counts.waiting - counts.running,
    }
  })

  async add(files: Iterable<File>): Promise<void> {
    const fresh = [...files].map((file) => new Picture(String(++this.#named), file))
    const checked = await Promise.all(fresh.map(check))
    this.pictures = [...checked, ...this.pictures]
    this.#pump()
  }

  cancel(picture: Picture): void {
    picture.happens({ kind: 'cancelled' })
    this.#endIdleCalls()
    this.#pump()
  }

  cancelAll(): void {
    for (const picture of this.pictures) picture.happens({ kind: 'cancelled' })
    this.#endIdleCalls()
  }

  retry(pictures: Picture[]): void {
    for (const picture of pictures) {
      picture.times = 0
      picture.happens({ kind: 'retry' })
    }
    this.#pump()
  }

  /** Takes those that are ended off the board. */
  clear(): void {
    const [gone, kept] = [
      this.pictures.filter(isEnded),
      this.pictures.filter((one) => !isEnded(one)),
    ]
    for (const { shown } of gone) if (shown) URL.revokeObjectURL(shown)
    this.pictures = kept
  }

  /** Do not wait for the next attempt. */
  tryNow(): void {
    this.#release?.abort()
  }

  /**
   * A call cannot give up one of its pictures: it goes on for the others, and an answer to a cancelled
   * one is not looked at. It ends when nobody waits for any of them.
   */
  #endIdleCalls(): void {
    for (const call of this.#calls) if (call.pictures.every(isEnded)) call.abort.abort()
  }

  #pump(): void {
    while (!this.held && this.#calls.size < STREAMS_MAX) {
      // Those that were sent before come first, then the oldest: new ones are put in front only to be seen.
      const next = this.pictures.filter(({ life }) => waitsToBeSent(life))
      next.sort((one, other) => other.times - one.times || Number(one.id) - Number(other.id))
      const count = parcel(
        next.map(({ file }) => file.size),
        STREAMS_MAX - this.#calls.size,
      )
      if (count === 0) return
      const call = { pictures: next.slice(0, count), abort: new AbortController() }
      for (const picture of call.pictures) picture.happens({ kind: 'sent', now: Date.now() })
      this.#calls.add(call)
      this.#make(call).finally(() => {
        this.#calls.delete(call)
        this.#pump()
      })
    }
  }

  async #make(call: Call): Promise<void> {
    const left = () => call.pictures.filter(({ life }) => underWay(life))
    try {
      const named = new Map(call.pictures.map((picture) => [picture.id, picture]))
      const images = (await Promise.all(call.pictures.map(toImage))).filter(
        (image) => image !== undefined,
      )
      if (images.length === 0) return
      const request = { images, includeProgress: true }
      for await (const response of classifier.classifyStream(request, {
        signal: call.abort.signal,
      })) {
        this.#backoff.reset()
        this.#tell(named, response)
      }
      if (left().length > 0) throw new TypeError('the stream ended early')
    } catch (thrown) {
      if (left().length > 0) await this.#recover(left(), failure(thrown))
    }
  }

  #tell(named: Map<string, Picture>, { event }: ClassifyStreamResponse): void {
    if (event.case === 'progress') {
      named.get(event.value.customId)?.happens({ kind: 'progress', progress: event.value })
    } else if (event.case === 'result') {
      const picture = named.get(event.value.customId)
      if (!picture) return
      const why = event.value.error && failureOf(event.value.error)
      const comesBack = why && (why.next === 'later' || why.next === 'reconnect')
      if (comesBack && event.value.state === ImageState.FAILED && picture.times < TIMES_MAX) {
        again(picture, why.sentence)
        this.#hold(why.sentence, why.retryAfterMs ?? LATER_MS)
      } else {
        picture.happens({ kind: 'result', result: event.value, now: Date.now() })
      }
    }
  }

  /** The pictures of a call that broke are sent again, unless that cannot help. */
  async #recover(left: Picture[], why: Failure): Promise<void> {
    const inVain = (picture: Picture) => why.next === 'give-up' || picture.times >= TIMES_MAX
    for (const picture of left) {
      if (inVain(picture)) picture.happens({ kind: 'gave-up', why: why.sentence })
      else again(picture, why.sentence)
    }
    if (why.next === 'key') {
      this.held = { why: why.sentence, until: undefined }
      keys.ask('any', why.sentence)
      await keys.given()
      this.held = undefined
      this.#pump()
    } else if (why.next !== 'give-up') {
      this.#hold(why.sentence, why.retryAfterMs ?? this.#backoff.next())
    }
  }

  async #hold(why: string, ms: number): Promise<void> {
    if (this.held) return
    const release = new AbortController()
    this.#release = release
    this.held = { why, until: Date.now() + ms }
    await pause(ms, release.signal)
    this.held = undefined
    this.#pump()
  }
}

function again(picture: Picture, why: string): void {
  picture.times += 1
  picture.happens({ kind: 'broke', why, times: picture.times })
}

function isEnded(picture: Picture): boolean {
  return ended(picture.life)
}

async function check(picture: Picture): Promise<Picture> {
  const head = new Uint8Array(await picture.file.slice(0, HEAD_BYTES).arrayBuffer())
  const why = refusal(picture.file, head)
  if (why) picture.life = { stage: 'failed', why, canRetry: false }
  else
    thumbnail(picture.file).then((shown) => {
      picture.shown = shown
    })
  return picture
}

async function toImage(picture: Picture) {
  try {
    const value = new Uint8Array(await picture.file.arrayBuffer())
    return { customId: picture.id, source: { case: 'content' as const, value } }
  } catch {
    picture.happens({ kind: 'gave-up', why: 'The file cannot be read any more.' })
    return undefined
  }
}

/** One for the page, so that going to another view and back loses nothing. */
export const board = new Board()
