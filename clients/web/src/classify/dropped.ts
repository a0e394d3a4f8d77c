// The files of a drop, folders opened.

/** More than this is a slip of the hand: a folder with everything in it. */
export const FILES_MAX = 5000

export async function dropped(transfer: DataTransfer): Promise<File[]> {
  // The list is emptied as soon as the event is over, so everything is taken out first.
  const entries = [...transfer.items]
    .map((item) => item.webkitGetAsEntry())
    .filter((entry) => entry !== null)
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files]
  const files: File[] = []
  for (const entry of entries) await collect(entry, files)
  return files
}

async function collect(entry: FileSystemEntry, files: File[]): Promise<void> {
  if (files.length >= FILES_MAX || entry.name.startsWith('.')) return
  if (entry.isFile) {
    files.push(
      await new Promise<File>((resolve, reject) =>
        (entry as FileSystemFileEntry).file(resolve, reject),
      ),
    )
    return
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    )
    if (some.length === 0) return
    for (const inside of some) await collect(inside, files)
  }
}
