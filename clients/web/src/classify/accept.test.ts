import { expect, test } from 'vitest'
import { IMAGE_BYTES_MAX, kind, refusal } from './accept'

const bytes = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0))

test('a format is known by its first bytes', () => {
  expect(kind(bytes('\xff\xd8\xff\xe0'))).toBe('jpeg')
  expect(kind(bytes('\x89PNG\r\n\x1a\n'))).toBe('png')
  expect(kind(bytes('RIFFxxxxWEBP'))).toBe('webp')
  expect(kind(bytes('GIF89a'))).toBe('gif')
  expect(kind(bytes('BM'))).toBe('bmp')
  expect(kind(bytes('%PDF-1.7'))).toBeUndefined()
  expect(kind(bytes('RIFFxxxxWAVE'))).toBeUndefined()
})

test('what would be refused is refused before it is sent, in words', () => {
  const jpeg = bytes('\xff\xd8\xff')
  expect(refusal({ name: 'a.jpg', size: 1000 }, jpeg)).toBeUndefined()
  expect(refusal({ name: 'a.jpg', size: IMAGE_BYTES_MAX }, jpeg)).toBeUndefined()
  expect(refusal({ name: 'a.jpg', size: IMAGE_BYTES_MAX + 1 }, jpeg)).toContain('at most 10 MB')
  expect(refusal({ name: 'a.jpg', size: 0 }, bytes(''))).toContain('empty')
  expect(refusal({ name: 'cat.jpg', size: 10 }, bytes('hello'))).toContain('Not a picture')
})
