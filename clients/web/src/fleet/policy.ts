// Policies: in words, and made from what a form says.

import { create } from '@bufbuild/protobuf'
import { type Policy, PolicySchema } from '../gen/dunlin/v1/autoscaler_service_pb'
import { many, milliseconds, percent, span, toDuration } from '../words/format'

export type Kind = 'latency' | 'step' | 'backlog' | 'fixed'

export interface Wish {
  kind: Kind
  /** Seconds, pictures a worker, or workers, as the kind has it. */
  number: number
  least: number
  most: number
}

/** What the number of each kind means, and a sensible one. */
export const KINDS: Record<Kind, { words: string; number: string; usual: number }> = {
  latency: { words: 'answer 95 % within a time', number: 'Seconds', usual: 10 },
  step: { words: 'a worker for each so many waiting', number: 'Pictures', usual: 5 },
  backlog: { words: 'so many for each worker', number: 'Pictures', usual: 5 },
  fixed: { words: 'always the same', number: 'Workers', usual: 2 },
}

export function policy({ kind, number, least, most }: Wish): Policy {
  return create(PolicySchema, { kind: rule(kind, number), minInstances: least, maxInstances: most })
}

function rule(kind: Kind, number: number) {
  switch (kind) {
    case 'latency': {
      const target = {
        $typeName: 'google.protobuf.Duration' as const,
        ...toDuration(number * 1000),
      }
      return { case: kind, value: { target, quantile: 0.95 } }
    }
    case 'step':
      return { case: kind, value: { messagesPerInstance: number } }
    case 'backlog':
      return { case: kind, value: { targetPerInstance: number } }
    case 'fixed':
      return { case: kind, value: { instances: number } }
  }
}

export function inWords({ kind, minInstances: least, maxInstances: most }: Policy): string {
  return `${ruleInWords(kind)}, ${least} to ${many(most, 'worker')}`
}

function ruleInWords(kind: Policy['kind']): string {
  switch (kind.case) {
    case 'latency':
      return `${percent(kind.value.quantile).replace('.0', '')} within ${span(milliseconds(kind.value.target) ?? 0)}`
    case 'step':
      return `a worker for each ${kind.value.messagesPerInstance} waiting`
    case 'backlog':
      return `${kind.value.targetPerInstance} pictures for each worker`
    case 'fixed':
      return `always ${many(kind.value.instances, 'worker')}`
    default:
      return 'no rule'
  }
}
