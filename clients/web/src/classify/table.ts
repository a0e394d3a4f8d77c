// What the board says, as a table to keep.

import { csvLine } from '../words/download'
import type { Life } from './life'

interface Row {
  file: { name: string; webkitRelativePath?: string }
  life: Life
}

export function toCsv(pictures: Row[]): string {
  const head = csvLine([
    'file',
    'state',
    'label',
    'score',
    'milliseconds',
    'model',
    'worker',
    'error',
  ])
  return (
    head +
    pictures.map(({ file, life }) => line(file.webkitRelativePath || file.name, life)).join('')
  )
}

function line(name: string, life: Life): string {
  if (life.stage === 'failed') return csvLine([name, life.stage, '', '', '', '', '', life.why])
  if (life.stage !== 'done') return csvLine([name, life.stage, '', '', '', '', '', ''])
  const { labels, totalMs, model, worker } = life.answer
  const best = labels[0]
  return csvLine([
    name,
    life.stage,
    best?.label,
    best?.score.toFixed(4),
    Math.round(totalMs),
    model,
    worker,
    '',
  ])
}
