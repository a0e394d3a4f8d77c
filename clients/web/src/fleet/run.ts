// What a simulated run answers, gathered for a chart and a table.

import type { SimulateResponse, SimulationReport } from '../gen/dunlin/v1/autoscaler_service_pb'
import { instant } from '../words/format'
import { inWords } from './policy'

export interface Run {
  reports: SimulationReport[]
  /** Milliseconds since the run began, rising. */
  times: number[]
  /** How many each policy wanted at each of `times`. */
  wanted: { policy: string; values: (number | null)[] }[]
}

interface Step {
  at: number
  want: number
}

export async function gather(responses: AsyncIterable<SimulateResponse>): Promise<Run> {
  const steps = new Map<string, Step[]>()
  const reports: SimulationReport[] = []
  let start = Number.POSITIVE_INFINITY
  for await (const { event } of responses) {
    if (event.case === 'report') reports.push(event.value)
    if (event.case !== 'decision' || !event.value.policy) continue
    const at = instant(event.value.time) ?? 0
    const name = inWords(event.value.policy)
    start = Math.min(start, at)
    steps.set(name, [...(steps.get(name) ?? []), { at, want: event.value.want }])
  }
  const times = [...new Set([...steps.values()].flat().map(({ at }) => at))].toSorted(
    (one, other) => one - other,
  )
  const wanted = [...steps].map(([policy, of]) => ({ policy, values: held(times, of) }))
  return { reports, times: times.map((at) => at - start), wanted }
}

/** The value of the last step at or before each time. */
function held(times: number[], steps: Step[]): (number | null)[] {
  let next = 0
  let want: number | null = null
  return times.map((at) => {
    for (let step = steps[next]; step && step.at <= at; step = steps[next]) {
      want = step.want
      next += 1
    }
    return want
  })
}
