// "What would have changed it", in words.

import type { CounterFactual } from '../gen/dunlin/v1/autoscaler_service_pb'
import { many, whole } from '../words/format'

const INPUTS: Record<string, string> = {
  'queue.visible': 'pictures waiting',
  'queue.in_flight': 'pictures in work',
  'queue.oldest_age': 'seconds the oldest has waited',
  arrivals_per_second_fast: 'arrivals a second over 10 s',
  arrivals_per_second_slow: 'arrivals a second over a minute',
  arrivals_per_second_latest: 'arrivals a second over 4 s',
  service_mean: 'seconds a picture takes',
  service_p95: 'seconds a picture takes at most',
  'fleet.ready': 'workers ready',
  'fleet.starting': 'workers starting',
  'recollection.reserve': 'workers the last minutes taught to keep',
  'recollection.largest_need': 'workers needed a moment ago',
  min_instances: 'the least the policy allows',
  max_instances: 'the most the policy allows',
}

export function counterFactual({ input, from, to, want }: CounterFactual): string {
  const name = INPUTS[input] ?? input.replaceAll(/[._]/g, ' ')
  return `With ${figure(to)} and not ${figure(from)} for ${name}: ${many(want, 'worker')}.`
}

function figure(value: number): string {
  if (value === 0) return '0'
  if (Math.abs(value) < 0.001) return 'a trace'
  return Number.isInteger(value) ? whole(value) : String(Number(value.toPrecision(3)))
}
