// What an error means to the reader: a sentence, and what the page does next.

import { anyUnpack } from '@bufbuild/protobuf/wkt'
import { Code, ConnectError } from '@connectrpc/connect'
import { ErrorInfoSchema, RetryInfoSchema } from '../gen/google/rpc/error_details_pb'
import type { Status } from '../gen/google/rpc/status_pb'
import { milliseconds, sentence } from '../words/format'

export type Next =
  /** The connection broke or the server goes away: the same again, later. */
  | 'reconnect'
  /** The server is full and said when to come back, or not. */
  | 'later'
  /** A key is needed, or another one. */
  | 'key'
  | 'give-up'

export interface Failure {
  sentence: string
  next: Next
  code: Code
  reason?: string | undefined
  retryAfterMs?: number | undefined
}

export function failure(thrown: unknown): Failure {
  const error = ConnectError.from(thrown)
  const broke = isNetwork(error)
  const pushback = Number(error.metadata.get('grpc-retry-pushback-ms') ?? Number.NaN)
  const retry = error.findDetails(RetryInfoSchema)[0]
  return {
    sentence: broke
      ? 'Dunlin cannot be reached.'
      : sentence(error.rawMessage || inWords(error.code)),
    next: broke ? 'reconnect' : next(error.code),
    code: error.code,
    reason: error.findDetails(ErrorInfoSchema)[0]?.reason,
    retryAfterMs: milliseconds(retry?.retryDelay) ?? (pushback >= 0 ? pushback : undefined),
  }
}

/** The same of an error inside an answer. */
export function failureOf(status: Status): Failure {
  let reason: string | undefined
  let retryAfterMs: number | undefined
  for (const detail of status.details) {
    const info = anyUnpack(detail, ErrorInfoSchema)
    const retry = anyUnpack(detail, RetryInfoSchema)
    reason ??= info?.reason
    retryAfterMs ??= milliseconds(retry?.retryDelay)
  }
  const code = status.code as Code
  return {
    sentence: sentence(status.message || inWords(code)),
    next: next(code),
    code,
    reason,
    retryAfterMs,
  }
}

function next(code: Code): Next {
  switch (code) {
    case Code.Unavailable:
    case Code.Aborted:
      return 'reconnect'
    case Code.ResourceExhausted:
      return 'later'
    case Code.Unauthenticated:
    case Code.PermissionDenied:
      return 'key'
    default:
      return 'give-up'
  }
}

/** The browser's own errors, and a stream that ended without its trailer. */
function isNetwork(error: ConnectError): boolean {
  return (
    error.cause instanceof TypeError ||
    /failed to fetch|network|load failed|missing trailer|missing status|premature eof|protocol error/i.test(
      error.rawMessage,
    ) ||
    // A proxy in front of a gateway that is away.
    /^HTTP 50[234]/.test(error.rawMessage)
  )
}

function inWords(code: Code): string {
  switch (code) {
    case Code.DeadlineExceeded:
      return 'it took longer than it was allowed to'
    case Code.Unimplemented:
      return 'this server does not do that'
    case Code.Canceled:
      return 'cancelled'
    default:
      return 'something went wrong'
  }
}
