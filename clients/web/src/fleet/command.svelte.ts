// What a person tells the autoscaler. Each needs an admin key where there are keys.

import { create } from '@bufbuild/protobuf'
import {
  type PauseRequest,
  PauseRequestSchema,
  type SetOverrideRequest,
  SetOverrideRequestSchema,
} from '../gen/dunlin/v1/autoscaler_service_pb'
import { autoscaler } from '../rpc/clients'
import { failure } from '../rpc/failure'
import { newId } from '../rpc/id'
import { keys } from '../rpc/keys.svelte'
import { toTimestamp } from '../words/format'

type Fields<Message> = Partial<Omit<Message, '$typeName' | '$unknown' | 'until' | 'requestId'>>

class Command {
  busy = $state(false)
  /** What came of the last one. */
  said = $state.raw<{ good: boolean; words: string }>()

  pause(what: Fields<PauseRequest>, minutes: number | undefined): Promise<void> {
    const request = create(PauseRequestSchema, { ...what, ...until(minutes) })
    return this.#give('Paused.', (requestId) => autoscaler.pause({ ...request, requestId }))
  }

  resume(): Promise<void> {
    return this.#give('Resumed.', (requestId) => autoscaler.resume({ requestId }))
  }

  override(what: Fields<SetOverrideRequest>, minutes: number): Promise<void> {
    const request = create(SetOverrideRequestSchema, { ...what, ...until(minutes) })
    return this.#give('The override is in force.', (requestId) =>
      autoscaler.setOverride({ ...request, requestId }),
    )
  }

  takeBack(): Promise<void> {
    return this.#give('The override is taken back.', (requestId) =>
      autoscaler.setOverride({ requestId }),
    )
  }

  drain(instanceId: string): Promise<void> {
    return this.#give(`${instanceId} finishes what it holds, and goes.`, (requestId) =>
      autoscaler.drainInstance({ instanceId, requestId, reason: 'drained on the page' }),
    )
  }

  async #give(good: string, call: (requestId: string) => Promise<unknown>): Promise<void> {
    this.busy = true
    // The same for the second attempt with a key: it is one wish.
    const requestId = newId()
    try {
      await call(requestId)
      this.said = { good: true, words: good }
    } catch (thrown) {
      const why = failure(thrown)
      this.said = { good: false, words: why.sentence }
      if (why.next === 'key') {
        keys.ask('admin', why.sentence)
        void keys.given().then(() => this.#give(good, call))
      }
    } finally {
      this.busy = false
    }
  }
}

function until(minutes: number | undefined) {
  if (minutes === undefined) return {}
  const at = toTimestamp(Date.now() + minutes * 60_000)
  return { until: { $typeName: 'google.protobuf.Timestamp' as const, ...at } }
}

export const command = new Command()
