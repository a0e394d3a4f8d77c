// Decisions and the state of the fleet in plain words, made from their fields.

import {
  type Action,
  ActionKind,
  ActionOutcome,
  type Bound,
  BoundKind,
  type Decision,
  type GetStatusResponse,
  InstanceState,
  type OverrideInForce,
  type PauseInForce,
} from '../gen/dunlin/v1/autoscaler_service_pb'
import { clock, instant, many, milliseconds, rate, span } from '../words/format'

/** The fleet in one sentence or two. */
export function overview(status: GetStatusResponse, nowMs: number): string {
  const { queue, fleet } = status.observation ?? {}
  const todo = Number(queue?.visible ?? 0) + Number(queue?.inFlight ?? 0)
  const ready = fleet?.ready ?? 0
  const starting = fleet?.starting ?? 0
  const work =
    todo === 0 ? 'nothing waits' : `${many(todo, 'picture is', 'pictures are')} to be answered`
  if (starting > 0) {
    const next = instant(status.nextReadyTime)
    const soon =
      next === undefined ? '' : `, the next is ready in about ${span(Math.max(next - nowMs, 500))}`
    return ready > 0
      ? `${many(ready, 'worker')} at work and ${starting} on the way${soon}.`
      : `${many(starting, 'worker is', 'workers are')} on the way${soon}.`
  }
  if (ready === 0)
    return todo === 0
      ? 'The fleet is asleep: no pictures, no workers.'
      : `${capital(work)}, and no worker is there yet.`
  if (todo === 0) return `${many(ready, 'worker stands', 'workers stand')} by and ${work}.`
  return `${many(ready, 'worker is', 'workers are')} at it: ${work}.`
}

/** What was done, in the past tense: `Started 2 workers`. */
export function done(decision: Decision): string {
  const parts = [...groups(decision.actions)].map(([kind, actions]) => {
    const failed = actions.filter(({ outcome }) => outcome > ActionOutcome.DONE).length
    const trouble = failed
      ? ` (${failed === actions.length ? 'in vain' : `${failed} in vain`})`
      : ''
    return verb(kind, actions.length) + trouble
  })
  if (parts.length === 0) return 'Changed nothing'
  return capital(parts.join(', '))
}

function groups(actions: Action[]): Map<ActionKind, Action[]> {
  const grouped = new Map<ActionKind, Action[]>()
  for (const action of actions)
    grouped.set(action.kind, [...(grouped.get(action.kind) ?? []), action])
  return grouped
}

function verb(kind: ActionKind, count: number): string {
  const workers = many(count, 'worker')
  switch (kind) {
    case ActionKind.UNDRAIN:
      return `asked ${workers} to stay`
    case ActionKind.START:
      return `started ${workers}`
    case ActionKind.LAUNCH:
      return `started ${many(count, 'new worker')}`
    case ActionKind.DRAIN:
      return `asked ${workers} to finish and go`
    case ActionKind.STOP:
      return `stopped ${workers}, finished with all work`
    case ActionKind.TERMINATE:
      return `ended ${workers}`
    default:
      return `did something with ${workers}`
  }
}

/** Why so many were wanted: the strongest of the terms, and the bound that changed it last. */
export function because(decision: Decision): string {
  const strongest = decision.terms.reduce<{ name: string; instances: number } | undefined>(
    (best, term) => (term.instances > (best?.instances ?? 0) ? term : best),
    undefined,
  )
  const reason = strongest ? term(strongest.name, decision) : 'nothing arrives and nothing waits'
  const bound = decision.bounds.at(-1)
  return capital(bound ? `${reason}; ${boundInWords(bound)}` : reason)
}

function term(name: string, { observation, policy }: Decision): string {
  const waiting = Number(observation?.queue?.visible ?? 0)
  switch (name) {
    case 'steady': {
      const arrivals = Math.max(
        observation?.arrivalsPerSecondFast ?? 0,
        observation?.arrivalsPerSecondSlow ?? 0,
      )
      return arrivals < 0.05
        ? 'a picture comes now and then'
        : `${rate(arrivals)} pictures arrive a second`
    }
    case 'deadline': {
      const target =
        policy?.kind.case === 'latency' ? milliseconds(policy.kind.value.target) : undefined
      return `${many(waiting, 'picture waits', 'pictures wait')} for an answer${target ? ` within ${span(target)}` : ''}`
    }
    case 'clear':
      return 'what is there has to be cleared'
    case 'reserve':
      return 'the last minutes taught to keep some in reserve'
    case 'keep':
      return 'the last picture is not long ago'
    case 'floor':
      return 'the schedule asks for them at this hour'
    case 'fixed':
      return 'the policy is a fixed number'
    case 'step':
    case 'backlog':
      return `${many(waiting, 'picture waits', 'pictures wait')}`
    default:
      return name
  }
}

export function boundInWords({ kind, to }: Bound): string {
  switch (kind) {
    case BoundKind.MIN:
      return `never fewer than ${to}`
    case BoundKind.MAX:
      return `at most ${to} allowed`
    case BoundKind.HOLD:
      return `kept at ${to}, needed a moment ago`
    case BoundKind.PAID_MINUTE:
      return `kept at ${to}, paid for anyway`
    case BoundKind.API_BUDGET:
      return `only ${to} for now, the cloud takes no more calls`
    case BoundKind.CAPACITY:
      return `only ${to} for now, the cloud has no more`
    case BoundKind.PAUSED:
      return `kept at ${to} by a pause`
    case BoundKind.STALE:
      return `kept at ${to}, the counts are old`
    case BoundKind.OVERRIDE:
      return `${to} by a person's word`
    case BoundKind.NOT_LEADER:
      return 'another autoscaler decides'
    default:
      return `${to}`
  }
}

export function boundName(kind: BoundKind): string {
  return BoundKind[kind]?.toLowerCase().replaceAll('_', ' ') ?? ''
}

/** `Started`, `Stopped`: of one action, with what became of it. */
export function actionInWords({ kind, outcome, error, attempts }: Action): string {
  const what = ActionKind[kind]?.toLowerCase() ?? ''
  const came = ActionOutcome[outcome]?.toLowerCase().replaceAll('_', ' ') ?? ''
  const tries = attempts > 1 ? ` after ${attempts} attempts` : ''
  return `${what}: ${came}${tries}${error ? ` (${error})` : ''}`
}

export function stateInWords(state: InstanceState): string {
  return state === InstanceState.UNSPECIFIED
    ? 'unknown'
    : (InstanceState[state]?.toLowerCase() ?? '')
}

export function pauseInWords(pause: PauseInForce): string {
  const what =
    pause.scaleOut && pause.scaleIn
      ? 'starts and stops nothing'
      : pause.scaleOut
        ? 'starts nothing'
        : 'stops nothing'
  return `Paused: it ${what}${until(pause)}${who(pause)}`
}

export function overrideInWords(override: OverrideInForce): string {
  const { instances, minInstances: least, maxInstances: most } = override
  const what =
    instances !== undefined
      ? `exactly ${many(instances, 'worker')}`
      : [
          least !== undefined ? `at least ${least}` : '',
          most !== undefined ? `at most ${most}` : '',
        ]
          .filter(Boolean)
          .join(', ')
  return `Overridden: ${what}${until(override)}${who(override)}`
}

function until({ until }: Pick<PauseInForce, 'until'>): string {
  const time = instant(until)
  return time === undefined ? ', until somebody resumes it' : `, until ${clock(time)}`
}

function who({ reason, actor }: Pick<PauseInForce, 'reason' | 'actor'>): string {
  const by = actor ? ` By ${actor}.` : ''
  return `${reason ? `. “${reason}”` : '.'}${by}`
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
