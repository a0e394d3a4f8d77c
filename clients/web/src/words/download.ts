// Saves text as a file.

export function download(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  URL.revokeObjectURL(url)
}

/** One line of CSV (RFC 4180). A leading `=`, `+`, `-` or `@` would be a formula to a spreadsheet. */
export function csvLine(cells: (string | number | undefined)[]): string {
  const quoted = cells.map((cell) => {
    const text =
      typeof cell === 'string' && /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : String(cell ?? '')
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
  })
  return `${quoted.join(',')}\r\n`
}
