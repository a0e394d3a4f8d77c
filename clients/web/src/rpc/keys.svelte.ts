// The keys a reader gave, for as long as the tab lives, and the question for one.

const STORED_AS = { any: 'dunlin.key', admin: 'dunlin.admin-key' } as const

export type Scope = keyof typeof STORED_AS

class Keys {
  /** Set while the page asks for a key: what for, and why in the server's words. */
  question = $state<{ scope: Scope; why: string }>()
  #held = $state<Record<Scope, string>>({ any: read('any'), admin: read('admin') })
  #waiting: (() => void)[] = []

  /** For a call: the admin key where the call needs one and there is one. */
  for(scope: Scope): string {
    return (scope === 'admin' && this.#held.admin) || this.#held.any || this.#held.admin
  }

  ask(scope: Scope, why: string): void {
    this.question ??= { scope, why }
  }

  /** Resolves when a key was given since. */
  given(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  give(key: string): void {
    const scope = this.question?.scope ?? 'any'
    this.#held[scope] = key.trim()
    sessionStorage.setItem(STORED_AS[scope], key.trim())
    this.question = undefined
    for (const go of this.#waiting.splice(0)) go()
  }

  dismiss(): void {
    this.question = undefined
  }
}

function read(scope: Scope): string {
  return sessionStorage.getItem(STORED_AS[scope]) ?? ''
}

export const keys = new Keys()
