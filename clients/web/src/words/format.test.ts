import { expect, test } from 'vitest'
import {
  bytes,
  many,
  milliseconds,
  percent,
  rate,
  sentence,
  shortId,
  span,
  toDuration,
} from './format'

test('times are read at a glance', () => {
  const rows: [number, string][] = [
    [-5, '0 ms'],
    [0, '0 ms'],
    [0.4, 'under 1 ms'],
    [24, '24 ms'],
    [999, '999 ms'],
    [999.6, '1 s'],
    [1234, '1.2 s'],
    [2000, '2 s'],
    [9960, '10 s'],
    [59_400, '59 s'],
    [60_000, '1 min'],
    [3_600_000, '1 h'],
    [7_500_000, '2 h 5 min'],
    [259_200_000, '3 days'],
  ]
  for (const [ms, words] of rows) expect(span(ms), String(ms)).toBe(words)
})

test('a duration is the same after both ways', () => {
  for (const ms of [0, 1, 999, 1000, 61_500]) {
    const duration = { $typeName: 'google.protobuf.Duration' as const, ...toDuration(ms) }
    expect(milliseconds(duration)).toBeCloseTo(ms)
  }
  expect(milliseconds(undefined)).toBeUndefined()
})

test('numbers have their unit and their plural', () => {
  expect(percent(0.3957)).toBe('39.6 %')
  expect(percent(1)).toBe('100 %')
  expect(percent(0.0001)).toBe('under 0.1 %')
  expect(bytes(10 * 1024 * 1024)).toBe('10 MB')
  expect(bytes(2_500_000)).toBe('2.4 MB')
  expect(many(1, 'picture')).toBe('1 picture')
  expect(many(1200, 'picture')).toBe('1,200 pictures')
  expect(rate(0.25)).toBe('0.3')
  expect(rate(12.4)).toBe('12')
})

test('a sentence begins and ends like one', () => {
  expect(sentence('queue is full')).toBe('Queue is full.')
  expect(sentence('Why?')).toBe('Why?')
})

test('a long id is told by its end', () => {
  expect(shortId('local-1')).toBe('local-1')
  expect(shortId('01M87EVTN9AJDB6MRCNMYM95NY')).toBe('…M95NY')
})
