import { create } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { ImageProgressSchema, ImageResultSchema, ImageState } from '../gen/dunlin/v1/types_pb'
import { ended, type Happening, type Life, step } from './life'

const queued = (ahead: bigint): Happening => ({
  kind: 'progress',
  progress: create(ImageProgressSchema, { state: ImageState.QUEUED, queueDepth: ahead }),
})
const running: Happening = {
  kind: 'progress',
  progress: create(ImageProgressSchema, { state: ImageState.RUNNING, workerId: 'local-1' }),
}
const result = (state: ImageState, code = 0): Happening => ({
  kind: 'result',
  now: 1500,
  result: create(ImageResultSchema, {
    state,
    classifications: [{ label: 'tabby', score: 0.9 }],
    ...(code ? { error: { code, message: 'because' } } : {}),
    execution: {
      queueDuration: { seconds: 0n, nanos: 100e6 },
      inferenceDuration: { seconds: 0n, nanos: 30e6 },
    },
  }),
})

function after(...happenings: Happening[]): Life {
  return happenings.reduce(step, { stage: 'next' } as Life)
}

test('a picture is sent, waits, runs and is answered', () => {
  const sent: Happening = { kind: 'sent', now: 1000 }
  expect(after(sent)).toEqual({ stage: 'sending', since: 1000 })
  expect(after(sent, queued(3n))).toMatchObject({ stage: 'queued', ahead: 3 })
  expect(after(sent, queued(3n), running)).toMatchObject({ stage: 'running', worker: 'local-1' })
  const life = after(sent, queued(3n), running, result(ImageState.SUCCEEDED))
  expect(life).toMatchObject({
    stage: 'done',
    answer: { totalMs: 500, labels: [{ label: 'tabby' }] },
  })
})

test('the parts of the time add up to all of it', () => {
  const life = after({ kind: 'sent', now: 1000 }, result(ImageState.SUCCEEDED))
  if (life.stage !== 'done') throw new Error('it is done')
  expect(life.answer.parts.map(({ name }) => name)).toEqual(['on its way', 'waiting', 'inference'])
  expect(life.answer.parts.reduce((sum, { ms }) => sum + ms, 0)).toBeCloseTo(500)
})

test('a place in the queue that comes late changes nothing', () => {
  const life = after({ kind: 'sent', now: 0 }, running, queued(7n))
  expect(life.stage).toBe('running')
})

test('a life ends once', () => {
  const all: Happening[] = [
    { kind: 'sent', now: 0 },
    queued(1n),
    running,
    result(ImageState.SUCCEEDED),
    result(ImageState.FAILED, 3),
    { kind: 'broke', why: 'x', times: 1 },
    { kind: 'gave-up', why: 'x' },
    { kind: 'cancelled' },
  ]
  for (const last of [
    result(ImageState.SUCCEEDED),
    result(ImageState.FAILED, 3),
    { kind: 'cancelled' } as const,
  ]) {
    const over = after({ kind: 'sent', now: 0 }, last)
    expect(ended(over)).toBe(true)
    for (const happening of all) expect(step(over, happening)).toBe(over)
  }
})

test('only what can be helped is offered again', () => {
  const life = (code: number, state = ImageState.FAILED) =>
    after({ kind: 'sent', now: 0 }, result(state, code))
  expect(life(3)).toMatchObject({ stage: 'failed', canRetry: false, why: 'Because.' })
  expect(life(14)).toMatchObject({ stage: 'failed', canRetry: true })
  expect(life(4, ImageState.EXPIRED)).toMatchObject({ stage: 'failed', canRetry: true })
  expect(step(life(14), { kind: 'retry' })).toEqual({ stage: 'next' })
})

test('a picture whose call broke is sent once more', () => {
  const life = after({ kind: 'sent', now: 0 }, running, { kind: 'broke', why: 'away', times: 1 })
  expect(life).toMatchObject({ stage: 'again', why: 'away' })
  expect(step(life, { kind: 'sent', now: 9 })).toMatchObject({ stage: 'sending' })
})
