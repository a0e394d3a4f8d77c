// Ids for calls that may be made again.

/** `crypto.randomUUID` is there on secure addresses only. */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}
