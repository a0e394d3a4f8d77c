import { create } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import {
  ActionKind,
  ActionOutcome,
  BoundKind,
  DecisionSchema,
  GetStatusResponseSchema,
} from '../gen/dunlin/v1/autoscaler_service_pb'
import { answersPerSecond, broken, level, merged, type Sample } from './history'
import { counterFactual } from './otherwise'
import { because, done, overview } from './plain'
import { inWords, policy } from './policy'

const at = (seconds: number, completed = 0, more: Partial<Sample> = {}): Sample => ({
  at: seconds * 1000,
  completed,
  waiting: 0,
  inFlight: 0,
  want: 0,
  ready: 0,
  starting: 0,
  draining: 0,
  p50: undefined,
  p95: undefined,
  service: undefined,
  target: undefined,
  decided: false,
  ...more,
})

test('answers a second are counted over some seconds', () => {
  const samples = [0, 1, 2, 3, 4, 5].map((second) => at(second, second * 10))
  expect(answersPerSecond(samples)).toEqual([null, 10, 10, 10, 10, 10])
})

test('a counter that fell and a time that is not known give no rate', () => {
  expect(answersPerSecond([at(0, 50), at(1, 3)])).toEqual([null, null])
  expect(answersPerSecond([at(0, 0), at(60, 600)])).toEqual([null, null])
})

test('lines stay level between decisions and break where nobody looked', () => {
  const decided = [at(0, 0, { decided: true, ready: 2 }), at(60, 6, { decided: true })]
  const levelled = level(decided)
  expect(levelled.map((sample) => [sample.at, sample.ready])).toEqual([
    [0, 2],
    [59_999, 2],
    [60_000, 0],
  ])
  expect(broken(at(0), at(5))).toBe(false)
  expect(broken(at(0), at(30))).toBe(true)
})

test('decisions fill only what was not seen', () => {
  const seen = [at(100), at(101)]
  const decided = [at(50, 0, { decided: true }), at(100.5, 0, { decided: true })]
  expect(merged(seen, decided).map((sample) => sample.at)).toEqual([50_000, 100_000, 101_000])
  expect(merged(merged(seen, decided), decided)).toEqual(merged(seen, decided))
})

test('the fleet is told in a sentence', () => {
  const words = (fleet: object, queue: object = {}) =>
    overview(create(GetStatusResponseSchema, { observation: { fleet, queue } }), 0)
  expect(words({})).toBe('The fleet is asleep: no pictures, no workers.')
  expect(words({ ready: 1 })).toBe('1 worker stands by and nothing waits.')
  expect(words({ ready: 2 }, { visible: 3n, inFlight: 2n })).toBe(
    '2 workers are at it: 5 pictures are to be answered.',
  )
  expect(words({ starting: 1 }, { visible: 1n })).toBe('1 worker is on the way.')
})

test('a decision is told in what it did and why', () => {
  const decision = create(DecisionSchema, {
    want: 2,
    terms: [
      { name: 'steady', instances: 1 },
      { name: 'deadline', instances: 3 },
    ],
    bounds: [{ kind: BoundKind.MAX, from: 3, to: 2 }],
    actions: [
      { kind: ActionKind.START, outcome: ActionOutcome.DONE },
      { kind: ActionKind.START, outcome: ActionOutcome.FAILED },
    ],
    observation: { queue: { visible: 7n } },
    policy: policy({ kind: 'latency', number: 10, least: 0, most: 2 }),
  })
  expect(done(decision)).toBe('Started 2 workers (1 in vain)')
  expect(because(decision)).toBe('7 pictures wait for an answer within 10 s; at most 2 allowed')
  expect(done(create(DecisionSchema, {}))).toBe('Changed nothing')
  expect(because(create(DecisionSchema, {}))).toBe('Nothing arrives and nothing waits')
})

test('policies and what would have changed a decision are told in words', () => {
  expect(inWords(policy({ kind: 'latency', number: 10, least: 0, most: 2 }))).toBe(
    '95 % within 10 s, 0 to 2 workers',
  )
  expect(inWords(policy({ kind: 'step', number: 5, least: 1, most: 1 }))).toBe(
    'a worker for each 5 waiting, 1 to 1 worker',
  )
  const one = {
    $typeName: 'dunlin.v1.CounterFactual' as const,
    input: 'queue.visible',
    from: 0,
    to: 6,
    want: 2,
  }
  expect(counterFactual(one)).toBe('With 6 and not 0 for pictures waiting: 2 workers.')
})
