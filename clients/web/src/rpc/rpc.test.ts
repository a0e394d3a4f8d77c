import { create } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import { expect, test } from 'vitest'
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb'
import { StatusSchema } from '../gen/google/rpc/status_pb'
import { Backoff } from './backoff'
import { failure, failureOf } from './failure'

test('each pause is longer than the last, up to a limit, and the first again after success', () => {
  const backoff = new Backoff()
  const pauses = Array.from({ length: 8 }, () => backoff.next(1))
  expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 8000, 8000, 8000])
  expect(new Backoff().next(0)).toBe(400)
  backoff.reset()
  expect(backoff.next(1)).toBe(500)
})

test('an error tells what the page does next', () => {
  const next = (code: Code) => failure(new ConnectError('why', code)).next
  expect(next(Code.Unavailable)).toBe('reconnect')
  expect(next(Code.ResourceExhausted)).toBe('later')
  expect(next(Code.Unauthenticated)).toBe('key')
  expect(next(Code.PermissionDenied)).toBe('key')
  expect(next(Code.InvalidArgument)).toBe('give-up')
  expect(failure(new ConnectError('queue is full', Code.ResourceExhausted)).sentence).toBe(
    'Queue is full.',
  )
})

test('a broken connection is not an error of the server', () => {
  for (const thrown of [
    new TypeError('Failed to fetch'),
    new ConnectError('missing trailer', Code.Internal),
  ]) {
    expect(failure(thrown)).toMatchObject({
      next: 'reconnect',
      sentence: 'Dunlin cannot be reached.',
    })
  }
})

test('the server says when to come back', () => {
  const pushback = new ConnectError('full', Code.ResourceExhausted, {
    'grpc-retry-pushback-ms': '1500',
  })
  expect(failure(pushback).retryAfterMs).toBe(1500)
  expect(failure(new ConnectError('full', Code.ResourceExhausted)).retryAfterMs).toBeUndefined()
  const retry = create(RetryInfoSchema, { retryDelay: { seconds: 2n, nanos: 0 } })
  const info = create(ErrorInfoSchema, { reason: 'QUEUE_FULL' })
  const details = [anyPack(ErrorInfoSchema, info), anyPack(RetryInfoSchema, retry)]
  const status = create(StatusSchema, { code: Code.ResourceExhausted, message: 'full', details })
  expect(failureOf(status)).toMatchObject({
    next: 'later',
    retryAfterMs: 2000,
    reason: 'QUEUE_FULL',
  })
})
