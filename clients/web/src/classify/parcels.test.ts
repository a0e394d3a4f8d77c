import { expect, test } from 'vitest'
import { PARCEL_BYTES_MAX, PARCEL_IMAGES_MAX, parcel } from './parcels'

const MIB = 1024 * 1024

test('few pictures are spread over the free calls', () => {
  expect(parcel([1, 1, 1], 3)).toBe(1)
  expect(parcel([1, 1, 1, 1], 3)).toBe(2)
  expect(parcel([1], 1)).toBe(1)
  expect(parcel([], 3)).toBe(0)
})

test('no parcel is larger than a message or a handful', () => {
  expect(parcel(Array(500).fill(MIB), 3)).toBe(PARCEL_IMAGES_MAX)
  expect(parcel(Array(500).fill(10 * MIB), 3)).toBe(3)
  for (const size of [MIB, 3 * MIB, 10 * MIB]) {
    expect(parcel(Array(99).fill(size), 1) * size).toBeLessThanOrEqual(PARCEL_BYTES_MAX)
  }
})

test('every picture is sent in the end', () => {
  let left: number[] = Array.from({ length: 77 }, (_, index) => (index % 10) * MIB)
  for (let calls = 0; left.length > 0; calls += 1) {
    expect(calls).toBeLessThan(100)
    left = left.slice(parcel(left, 3))
  }
})
