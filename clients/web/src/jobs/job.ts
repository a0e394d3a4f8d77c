// Jobs in words, and their results as files.

import { type Job, JobState } from '../gen/dunlin/v1/job_service_pb'
import { type ImageResult, ImageState } from '../gen/dunlin/v1/types_pb'
import { failureOf } from '../rpc/failure'
import { csvLine } from '../words/download'
import { milliseconds } from '../words/format'

export function hasEnded(job: Job): boolean {
  return job.state > JobState.RUNNING
}

export function stateInWords(state: JobState): string {
  switch (state) {
    case JobState.QUEUED:
      return 'queued'
    case JobState.RUNNING:
      return 'running'
    case JobState.SUCCEEDED:
      return 'done'
    case JobState.PARTIALLY_FAILED:
      return 'done, some failed'
    case JobState.FAILED:
      return 'failed'
    case JobState.CANCELLED:
      return 'cancelled'
    case JobState.EXPIRED:
      return 'expired'
    default:
      return 'unknown'
  }
}

/** What the reader calls it: the folder it came from, and which part of that. */
export function title({ labels, name }: Pick<Job, 'labels' | 'name'>): string {
  const { folder, part } = labels
  if (!folder) return name
  return part && part !== '1 of 1' ? `${folder}, part ${part}` : folder
}

export function counted({ counts }: Pick<Job, 'counts'>) {
  const { total = 0, succeeded = 0, failed = 0, cancelled = 0, expired = 0 } = counts ?? {}
  return {
    total,
    succeeded,
    failed,
    ended: succeeded + failed + cancelled + expired,
    lost: cancelled + expired,
  }
}

export function idOf(name: string): string {
  return name.replace(/^jobs\//, '')
}

export function csv(results: ImageResult[]): string {
  const head = csvLine(['image', 'state', 'label', 'score', 'inference_ms', 'worker', 'error'])
  return head + results.map((result) => csvLine(cells(result))).join('')
}

function cells(result: ImageResult): (string | number | undefined)[] {
  const best = result.classifications[0]
  const { execution } = result
  return [
    result.customId,
    imageState(result),
    best?.label,
    best?.score.toFixed(4),
    milliseconds(execution?.inferenceDuration)?.toFixed(1),
    execution?.workerId,
    result.error?.message,
  ]
}

export function jsonLines(results: ImageResult[]): string {
  return results.map((result) => `${JSON.stringify(row(result))}\n`).join('')
}

function row(result: ImageResult) {
  const { customId, classifications, execution, error } = result
  return {
    custom_id: customId,
    state: imageState(result),
    classifications: classifications.map(({ classId, label, score }) => ({
      class_id: classId,
      label,
      score,
    })),
    ...(error ? { error: { message: error.message, reason: failureOf(error).reason } } : {}),
    ...(execution
      ? {
          model: execution.model,
          model_version: execution.modelVersion,
          worker_id: execution.workerId,
          inference_ms: milliseconds(execution.inferenceDuration),
        }
      : {}),
  }
}

export function imageState({ state }: ImageResult): string {
  return ImageState[state]?.toLowerCase() ?? 'unknown'
}
