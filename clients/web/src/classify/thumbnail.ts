// A small copy of a picture to show. The whole one is never kept decoded.

const WIDTH = 480
// Decoding takes the processor, and the pictures are to be sent meanwhile.
const AT_ONCE = 2

let running = 0
const waiting: (() => void)[] = []

/** The address of a small copy, or undefined where the browser cannot read the file. */
export async function thumbnail(file: Blob): Promise<string | undefined> {
  if (running >= AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve))
  running += 1
  try {
    const bitmap = await createImageBitmap(file, { resizeWidth: WIDTH, resizeQuality: 'medium' })
    const canvas = document.createElement('canvas')
    canvas.width = bitmap.width
    canvas.height = bitmap.height
    canvas.getContext('2d')?.drawImage(bitmap, 0, 0)
    bitmap.close()
    const small = await new Promise<Blob | null>((resolve) =>
      canvas.toBlob(resolve, 'image/webp', 0.8),
    )
    return small ? URL.createObjectURL(small) : undefined
  } catch {
    return undefined
  } finally {
    running -= 1
    waiting.shift()?.()
  }
}
