// The time, for what counts down or grows old on the page. One timer for all of it.

const TICK_MS = 500

class Now {
  ms = $state(Date.now())

  constructor() {
    setInterval(() => {
      if (document.visibilityState === 'visible') this.ms = Date.now()
    }, TICK_MS)
  }
}

export const now = new Now()
