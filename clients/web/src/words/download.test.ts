import { expect, test } from 'vitest'
import { csvLine } from './download'

test('cells are quoted where they must be and never become a formula', () => {
  expect(csvLine(['a', 1, undefined])).toBe('a,1,\r\n')
  expect(csvLine(['say "hi", twice'])).toBe('"say ""hi"", twice"\r\n')
  expect(csvLine(['=HYPERLINK(1)'])).toBe("'=HYPERLINK(1)\r\n")
  expect(csvLine([-0.5])).toBe('-0.5\r\n')
})
