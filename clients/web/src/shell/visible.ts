// Work that goes on while the tab is looked at, and stops when it is hidden: a browser has six
// connections to a host over plain HTTP, for all its tabs together.

/** Runs `work` while the page is visible; its signal aborts when it is hidden or the returned function is called. */
export function whileVisible(work: (signal: AbortSignal) => void): () => void {
  let running: AbortController | undefined
  const look = () => {
    if (document.visibilityState === 'visible') {
      if (running) return
      running = new AbortController()
      work(running.signal)
    } else {
      running?.abort()
      running = undefined
    }
  }
  document.addEventListener('visibilitychange', look)
  look()
  return () => {
    document.removeEventListener('visibilitychange', look)
    running?.abort()
    running = undefined
  }
}

/** Waits, or less long when aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
    if (signal?.aborted) done()
  })
}
