// Decisions and instances: asked for when the status says that something changed.

import type { Decision, Instance } from '../gen/dunlin/v1/autoscaler_service_pb'
import { autoscaler } from '../rpc/clients'
import { toTimestamp } from '../words/format'
import { ofDecision, type Sample, WINDOW_MS } from './history'

const PAGE = 12
/** Enough for the charts' window at a decision each 2 s. */
const SEED_MAX = 300

class Record {
  decisions = $state.raw<Decision[]>([])
  instances = $state.raw<Instance[]>([])
  changedOnly = $state(true)
  more = $state('')
  #asking = false

  /** Never two at a time: the status may change faster than this answers. */
  async refresh(): Promise<void> {
    if (this.#asking) return
    this.#asking = true
    const { changedOnly } = this
    try {
      const [listed, { instances }] = await Promise.all([
        autoscaler.listDecisions({ pageSize: PAGE, changedOnly }),
        autoscaler.listInstances({}),
      ])
      if (changedOnly !== this.changedOnly) return
      const oldest = listed.decisions.at(-1)?.sequence
      const older = this.decisions.filter(
        ({ sequence }) => oldest !== undefined && sequence < oldest,
      )
      this.decisions = [...listed.decisions, ...older]
      if (older.length === 0) this.more = listed.nextPageToken
      this.instances = instances
    } catch {
      // The stream of the page says what is wrong.
    } finally {
      this.#asking = false
    }
  }

  choose(changedOnly: boolean): void {
    this.changedOnly = changedOnly
    this.decisions = []
    this.more = ''
    void this.refresh()
  }

  async older(): Promise<void> {
    const { changedOnly, more } = this
    const listed = await autoscaler.listDecisions({ pageSize: PAGE, changedOnly, pageToken: more })
    this.decisions = [...this.decisions, ...listed.decisions]
    this.more = listed.nextPageToken
  }

  /** What the decisions of the last minutes saw. */
  async seed(): Promise<Sample[]> {
    const since = toTimestamp(Date.now() - WINDOW_MS)
    const { decisions } = await autoscaler.listDecisions({ pageSize: SEED_MAX, since })
    return decisions
      .map(ofDecision)
      .filter((sample) => sample !== undefined)
      .reverse()
  }
}

export const record = new Record()
