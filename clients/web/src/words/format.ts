// Numbers, times and sizes as people read them.

import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt'

export function milliseconds(duration: Duration | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1000 + duration.nanos / 1e6
}

export function toDuration(ms: number): { seconds: bigint; nanos: number } {
  const whole = Math.floor(ms / 1000)
  return { seconds: BigInt(whole), nanos: Math.round((ms - whole * 1000) * 1e6) }
}

/** Milliseconds since 1970. */
export function instant(time: Timestamp | undefined): number | undefined {
  return time && Number(time.seconds) * 1000 + time.nanos / 1e6
}

export const toTimestamp = toDuration

/** `24 ms`, `1.2 s`, `45 s`, `3 min`, `2 h 5 min`. */
export function span(ms: number): string {
  if (ms < 1) return ms <= 0 ? '0 ms' : 'under 1 ms'
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 9_950) return `${(ms / 1000).toFixed(1).replace('.0', '')} s`
  if (ms < 59_500) return `${Math.round(ms / 1000)} s`
  const minutes = Math.round(ms / 60_000)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
  return `${Math.round(hours / 24)} days`
}

export function ago(ms: number): string {
  return ms < 1500 ? 'just now' : `${span(ms)} ago`
}

/** `14:03:27`, in the reader's own time. */
export function clock(ms: number): string {
  const time = new Date(ms)
  return [time.getHours(), time.getMinutes(), time.getSeconds()].map(twoDigits).join(':')
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0')
}

export function percent(share: number): string {
  const value = share * 100
  if (value > 0 && value < 0.1) return 'under 0.1 %'
  return `${value < 99.95 ? value.toFixed(1) : '100'} %`
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`
  if (count < 1024 * 1024) return `${Math.round(count / 1024)} kB`
  const megabytes = count / 1024 / 1024
  return `${Number.isInteger(megabytes) ? megabytes : megabytes.toFixed(1)} MB`
}

/** `1 picture`, `3 pictures`. */
export function many(count: number, one: string, more = `${one}s`): string {
  return `${whole(count)} ${count === 1 ? one : more}`
}

export function whole(count: number | bigint): string {
  return count.toLocaleString('en-GB')
}

/** One decimal where it says something. */
export function rate(perSecond: number): string {
  if (perSecond >= 9.95 || Number.isInteger(perSecond)) return whole(Math.round(perSecond))
  return perSecond.toFixed(1)
}

/** The end of a long id tells two of them apart; all of it is for records. */
export function shortId(id: string): string {
  return id.length > 12 ? `…${id.slice(-5)}` : id
}

export function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1)
  return /[.!?]$/.test(first) ? first : `${first}.`
}
