// Which files of a folder go into one job.

import { PARCEL_BYTES_MAX } from '../classify/parcels'

/** Pictures in one job; more would be a list nobody reads. */
const JOB_IMAGES_MAX = 1000
/** Parts that each fit into one message, in order. */
export function parts<Sized extends { size: number }>(files: Sized[]): Sized[][] {
  const found: Sized[][] = []
  let bytes = 0
  for (const file of files) {
    const last = found.at(-1)
    if (last && last.length < JOB_IMAGES_MAX && bytes + file.size <= PARCEL_BYTES_MAX) {
      last.push(file)
      bytes += file.size
    } else {
      found.push([file])
      bytes = file.size
    }
  }
  return found
}
