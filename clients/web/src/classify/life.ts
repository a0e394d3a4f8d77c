// The life of one picture, as a function of what happens to it. It ends once.

import type { ImageProgress, ImageResult } from '../gen/dunlin/v1/types_pb'
import { ImageState } from '../gen/dunlin/v1/types_pb'
import { failureOf } from '../rpc/failure'
import { milliseconds } from '../words/format'

export interface Label {
  label: string
  score: number
}

export interface Part {
  name: string
  ms: number
}

export interface Answer {
  labels: Label[]
  /** Where the time went, in order; they add up to `totalMs`. */
  parts: Part[]
  totalMs: number
  worker: string
  instance: string
  model: string
  batch: number
  attempt: number
  cached: boolean
}

export type Life =
  | { stage: 'next' } // not sent yet
  | { stage: 'sending'; since: number }
  | { stage: 'queued'; since: number; ahead: number; waitMs?: number | undefined }
  | { stage: 'running'; since: number; worker: string }
  | { stage: 'again'; why: string; times: number } // goes back to be sent once more
  | { stage: 'done'; answer: Answer }
  | { stage: 'failed'; why: string; canRetry: boolean }
  | { stage: 'cancelled' }

export type Happening =
  | { kind: 'sent'; now: number }
  | { kind: 'progress'; progress: ImageProgress }
  | { kind: 'result'; result: ImageResult; now: number }
  | { kind: 'broke'; why: string; times: number }
  | { kind: 'gave-up'; why: string }
  | { kind: 'cancelled' }
  | { kind: 'retry' }

export function ended(life: Life): boolean {
  return life.stage === 'done' || life.stage === 'failed' || life.stage === 'cancelled'
}

export function waitsToBeSent(life: Life): boolean {
  return life.stage === 'next' || life.stage === 'again'
}

/** With a server now. */
export function underWay(life: Life): boolean {
  return life.stage === 'sending' || life.stage === 'queued' || life.stage === 'running'
}

export function step(life: Life, happening: Happening): Life {
  if (happening.kind === 'retry') {
    return life.stage === 'failed' || life.stage === 'cancelled' ? { stage: 'next' } : life
  }
  if (ended(life)) return life
  switch (happening.kind) {
    case 'cancelled':
      return { stage: 'cancelled' }
    case 'gave-up':
      return { stage: 'failed', why: happening.why, canRetry: true }
    case 'broke':
      return { stage: 'again', why: happening.why, times: happening.times }
    case 'sent':
      return { stage: 'sending', since: happening.now }
    case 'progress':
      return underWay(life) ? progressed(life, happening.progress) : life
    case 'result':
      return finished(life, happening.result, happening.now)
  }
}

function progressed(life: Life, progress: ImageProgress): Life {
  const since = 'since' in life ? life.since : 0
  if (progress.state === ImageState.RUNNING) {
    return { stage: 'running', since, worker: progress.workerId }
  }
  // A place that arrives late says nothing about one that runs.
  if (progress.state !== ImageState.QUEUED || life.stage === 'running') return life
  return {
    stage: 'queued',
    since,
    ahead: Number(progress.queueDepth),
    waitMs: milliseconds(progress.estimatedWait),
  }
}

function finished(life: Life, result: ImageResult, now: number): Life {
  const since = 'since' in life ? life.since : now
  switch (result.state) {
    case ImageState.SUCCEEDED:
      return { stage: 'done', answer: answer(result, now - since) }
    case ImageState.CANCELLED:
      return { stage: 'cancelled' }
    default: {
      const why = result.error && failureOf(result.error)
      return {
        stage: 'failed',
        why: why?.sentence ?? 'No reason was given.',
        canRetry: why?.next !== 'give-up' || result.state === ImageState.EXPIRED,
      }
    }
  }
}

function answer(result: ImageResult, totalMs: number): Answer {
  const execution = result.execution
  const known: Part[] = []
  const add = (name: string, ms: number | undefined) => {
    if (ms) known.push({ name, ms })
  }
  add('waiting', milliseconds(execution?.queueDuration))
  add('fetching', milliseconds(execution?.fetchDuration))
  add('decoding', milliseconds(execution?.decodeDuration))
  add('inference', milliseconds(execution?.inferenceDuration))
  // An answer from memory tells the times of the one that was classified.
  const parts = execution?.cached ? [] : known
  const rest = totalMs - parts.reduce((sum, part) => sum + part.ms, 0)
  if (rest > 0) parts.unshift({ name: 'on its way', ms: rest })
  return {
    labels: result.classifications.map(({ label, score }) => ({ label, score })),
    parts,
    totalMs: Math.max(totalMs, 0),
    worker: execution?.workerId ?? '',
    instance: execution?.instanceId ?? '',
    model: [execution?.model, execution?.modelVersion].filter(Boolean).join(' '),
    batch: execution?.batchSize ?? 0,
    attempt: execution?.attempt ?? 0,
    cached: execution?.cached ?? false,
  }
}
