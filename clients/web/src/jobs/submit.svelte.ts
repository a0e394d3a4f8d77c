// A folder of pictures becomes a job, or several where it does not fit into one message.

import { HEAD_BYTES, refusal } from '../classify/accept'
import { Backoff } from '../rpc/backoff'
import { jobs } from '../rpc/clients'
import { failure } from '../rpc/failure'
import { newId } from '../rpc/id'
import { keys } from '../rpc/keys.svelte'
import { pause } from '../shell/visible'
import { many } from '../words/format'
import { parts } from './parts'

/** So often is a part sent before the page gives up. */
const ATTEMPTS_MAX = 8

export interface Chosen {
  folder: string
  files: File[]
  bytes: number
  left: { name: string; why: string }[]
}

/** What of the files can be sent. */
export async function choose(files: Iterable<File>): Promise<Chosen> {
  const chosen: Chosen = { folder: '', files: [], bytes: 0, left: [] }
  for (const file of files) {
    // Hidden files, which systems leave in folders.
    if (file.name.startsWith('.')) continue
    const path = nameOf(file)
    chosen.folder ||= path.includes('/') ? (path.split('/')[0] ?? '') : ''
    const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer())
    const why = refusal(file, head)
    if (why) {
      chosen.left.push({ name: path, why })
    } else {
      chosen.files.push(file)
      chosen.bytes += file.size
    }
  }
  chosen.folder ||= many(chosen.files.length, 'picture')
  return chosen
}

export function nameOf(file: File): string {
  return file.webkitRelativePath || file.name
}

class Submission {
  /** Shown while it goes on: how many of how many pictures are there. */
  progress = $state.raw<{ sent: number; of: number }>()
  wrong = $state('')
  /** Names of the jobs of the last one. */
  names = $state.raw<string[]>([])

  async submit({ folder, files }: Chosen): Promise<boolean> {
    const all = parts(files)
    const submission = newId()
    this.wrong = ''
    this.names = []
    this.progress = { sent: 0, of: files.length }
    try {
      for (const [index, part] of all.entries()) {
        const labels = { folder, part: `${index + 1} of ${all.length}`, submission }
        // The same at each attempt: a part that came and whose answer was lost is not queued twice.
        const name = await this.#create(part, labels, `${submission}-${index}`)
        this.names = [...this.names, name]
        this.progress = { sent: this.progress.sent + part.length, of: files.length }
      }
      return true
    } catch (thrown) {
      this.wrong = failure(thrown).sentence
      return false
    } finally {
      this.progress = undefined
    }
  }

  async #create(part: File[], labels: Record<string, string>, requestId: string): Promise<string> {
    const images = await Promise.all(
      part.map(async (file) => ({
        customId: nameOf(file),
        source: { case: 'content' as const, value: new Uint8Array(await file.arrayBuffer()) },
      })),
    )
    const backoff = new Backoff()
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { job } = await jobs.createJob({
          input: { case: 'images', value: { images } },
          labels,
          requestId,
        })
        return job?.name ?? ''
      } catch (thrown) {
        const why = failure(thrown)
        if (why.next === 'give-up' || attempt >= ATTEMPTS_MAX) throw thrown
        if (why.next === 'key') {
          keys.ask('any', why.sentence)
          await keys.given()
        } else {
          await pause(why.retryAfterMs ?? backoff.next())
        }
      }
    }
  }
}

export const submission = new Submission()
