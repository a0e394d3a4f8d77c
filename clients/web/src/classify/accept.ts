// What is checked before a picture is sent, so that nobody waits for a refusal.

import { bytes } from '../words/format'

/** The gateway's default, `--image-bytes-max`. */
export const IMAGE_BYTES_MAX = 10 * 1024 * 1024
/** As many first bytes as `kind` looks at. */
export const HEAD_BYTES = 12

export interface Candidate {
  name: string
  size: number
}

/** Why it would be refused, or undefined. */
export function refusal(file: Candidate, head: Uint8Array): string | undefined {
  if (file.size === 0) return 'This file is empty.'
  if (file.size > IMAGE_BYTES_MAX) {
    return `${bytes(file.size)} is too large: at most ${bytes(IMAGE_BYTES_MAX)} a picture.`
  }
  if (!kind(head)) return 'Not a picture we read: JPEG, PNG, WebP, GIF or BMP, by its first bytes.'
  return undefined
}

/** By the first bytes, as the gateway looks: a name can say anything. */
export function kind(head: Uint8Array): string | undefined {
  const text = String.fromCharCode(...head)
  if (text.startsWith('\xff\xd8\xff')) return 'jpeg'
  if (text.startsWith('\x89PNG\r\n\x1a\n')) return 'png'
  if (text.startsWith('RIFF') && text.slice(8, 12) === 'WEBP') return 'webp'
  if (text.startsWith('GIF87a') || text.startsWith('GIF89a')) return 'gif'
  if (text.startsWith('BM')) return 'bmp'
  return undefined
}
