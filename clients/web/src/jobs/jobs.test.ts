import { create } from '@bufbuild/protobuf'
import { expect, test } from 'vitest'
import { ImageResultSchema, ImageState } from '../gen/dunlin/v1/types_pb'
import { parse } from '../shell/route'
import { csv, jsonLines, title } from './job'
import { parts } from './parts'

const MIB = 1024 * 1024

test('a folder becomes parts that fit into a message, in order', () => {
  const files = Array.from({ length: 100 }, (_, index) => ({ size: MIB, index }))
  const all = parts(files)
  expect(all.length).toBe(4)
  expect(all.flat()).toEqual(files)
  expect(parts(Array(2500).fill({ size: 1 })).map((part) => part.length)).toEqual([1000, 1000, 500])
  expect(parts([])).toEqual([])
})

test('a job is called what its folder is called', () => {
  expect(title({ name: 'jobs/1', labels: {} })).toBe('jobs/1')
  expect(title({ name: 'jobs/1', labels: { folder: 'birds', part: '1 of 1' } })).toBe('birds')
  expect(title({ name: 'jobs/1', labels: { folder: 'birds', part: '2 of 3' } })).toBe(
    'birds, part 2 of 3',
  )
})

test('results are saved as lines', () => {
  const results = [
    create(ImageResultSchema, {
      customId: 'birds/a,b.jpg',
      state: ImageState.SUCCEEDED,
      classifications: [{ classId: 3, label: 'dunlin', score: 0.5 }],
    }),
    create(ImageResultSchema, {
      customId: 'c',
      state: ImageState.FAILED,
      error: { code: 3, message: 'broken' },
    }),
  ]
  expect(csv(results).split('\r\n').slice(1)).toEqual([
    '"birds/a,b.jpg",succeeded,dunlin,0.5000,,,',
    'c,failed,,,,,broken',
    '',
  ])
  const lines = jsonLines(results)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  expect(lines[0]).toMatchObject({
    custom_id: 'birds/a,b.jpg',
    classifications: [{ class_id: 3, label: 'dunlin' }],
  })
  expect(lines[1]).toMatchObject({ state: 'failed', error: { message: 'broken' } })
})

test('every address names a view', () => {
  expect(parse('')).toEqual({ view: 'classify' })
  expect(parse('#/')).toEqual({ view: 'classify' })
  expect(parse('#/fleet')).toEqual({ view: 'fleet' })
  expect(parse('#/fleet/01AB')).toEqual({ view: 'decision', id: '01AB' })
  expect(parse('#/jobs/x1')).toEqual({ view: 'job', name: 'jobs/x1' })
  expect(parse('#/%zz')).toEqual({ view: 'classify' })
  expect(parse('#/nothing')).toEqual({ view: 'classify' })
})
