// Which pictures go into one call.

/** The gateway takes 32 MiB a message and keeps 1 MiB of it for names and options; this leaves more. */
export const PARCEL_BYTES_MAX = 30 * 1024 * 1024
/** Each call shows so many at most: small enough to be given up alone. */
export const PARCEL_IMAGES_MAX = 16
/** Of the six connections a browser has for a host, three are left for the other calls of the page. */
export const STREAMS_MAX = 3

/**
 * The first so many of `sizes` that make the next call. Few pictures are spread over the free calls,
 * so that each can be cancelled by itself.
 */
export function parcel(sizes: number[], freeStreams: number): number {
  const share = Math.ceil(sizes.length / Math.max(freeStreams, 1))
  const limit = Math.min(share, PARCEL_IMAGES_MAX)
  let bytes = 0
  let count = 0
  for (const size of sizes.slice(0, limit)) {
    bytes += size
    if (count > 0 && bytes > PARCEL_BYTES_MAX) break
    count += 1
  }
  return count
}
