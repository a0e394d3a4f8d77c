// What the charts show: the last minutes, a sample for each status or decision.

import type {
  Decision,
  GetStatusResponse,
  Observation,
} from '../gen/dunlin/v1/autoscaler_service_pb'
import { instant, milliseconds } from '../words/format'

export const WINDOW_MS = 5 * 60_000
/** Status comes on every change: more than this many a second would be drawn on one pixel. */
const APART_MS = 400
/** Longer than this without a sample, and the line is broken. */
const GAP_MS = 12_000
/** Answers are counted over this much, so that a rate is not a comb. */
const RATE_MS = 4_000

export interface Sample {
  at: number
  waiting: number
  inFlight: number
  want: number
  ready: number
  starting: number
  draining: number
  completed: number
  p50: number | undefined
  p95: number | undefined
  service: number | undefined
  target: number | undefined
  /** Of a decision. Between two of them nothing changed, or it would have been decided. */
  decided: boolean
}

export function sample(status: GetStatusResponse, last?: Sample): Sample | undefined {
  const { observation } = status
  const at = instant(observation?.time)
  if (!observation || at === undefined) return undefined
  const taken = {
    ...seen(observation, at, status.want),
    p50: milliseconds(status.actualP50),
    p95: milliseconds(status.actualP95),
    target: target(status),
    decided: false,
  }
  // What changed is kept however soon it comes.
  const same =
    last &&
    last.ready === taken.ready &&
    last.want === taken.want &&
    last.starting === taken.starting
  return last && at - last.at < APART_MS && same ? undefined : taken
}

export function ofDecision(decision: Decision): Sample | undefined {
  const at = instant(decision.time)
  if (!decision.observation || at === undefined) return undefined
  return {
    ...seen(decision.observation, at, decision.want),
    p50: undefined,
    p95: undefined,
    target: target(decision),
    decided: true,
  }
}

function seen(observation: Observation, at: number, want: number) {
  const { queue, fleet } = observation
  return {
    at,
    want,
    waiting: Number(queue?.visible ?? 0),
    inFlight: Number(queue?.inFlight ?? 0),
    ready: fleet?.ready ?? 0,
    starting: fleet?.starting ?? 0,
    draining: fleet?.draining ?? 0,
    completed: Number(observation.completedTotal),
    service: milliseconds(observation.serviceMean),
  }
}

function target({ policy }: Pick<GetStatusResponse, 'policy'>): number | undefined {
  return policy?.kind.case === 'latency' ? milliseconds(policy.kind.value.target) : undefined
}

export function trimmed(samples: Sample[]): Sample[] {
  const oldest = (samples.at(-1)?.at ?? 0) - WINDOW_MS
  const first = samples.findIndex(({ at }) => at >= oldest)
  return first > 0 ? samples.slice(first) : samples
}

/** What was seen, and what was decided where nothing was seen. */
export function merged(history: Sample[], decided: Sample[]): Sample[] {
  const seen = history.filter((one) => !one.decided)
  const near = (at: number) => seen.some((one) => Math.abs(one.at - at) < APART_MS * 5)
  const all = [...seen, ...decided.filter(({ at }) => !near(at))]
  return all.toSorted((one, other) => one.at - other.at)
}

/** Lines that stay level up to the next decision. */
export function level(samples: Sample[]): Sample[] {
  return samples.flatMap((now, index) => {
    const before = samples[index - 1]
    const quiet = before?.decided && now.at - before.at > APART_MS * 5
    return quiet ? [{ ...before, at: now.at - 1, completed: now.completed }, now] : [now]
  })
}

/** Whether nothing is known of the time between two samples. */
export function broken(before: Sample, after: Sample): boolean {
  return !before.decided && after.at - before.at > GAP_MS
}

/** Answers a second at each sample. A counter that fell belongs to an autoscaler that was restarted. */
export function answersPerSecond(samples: Sample[]): (number | null)[] {
  let first = 0
  return samples.map((now, index) => {
    while (first < index && now.at - (samples[first + 1] as Sample).at >= RATE_MS) first += 1
    const then = samples[first]
    if (!then || now.at - then.at < RATE_MS / 4) return null
    const count = now.completed - then.completed
    return count < 0 || broken(then, now) ? null : count / ((now.at - then.at) / 1000)
  })
}
