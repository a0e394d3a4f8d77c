// Addresses within the page: after the #, so that the server needs to know one address only.

export type Route =
  | { view: 'classify' }
  | { view: 'fleet' }
  | { view: 'decision'; id: string }
  | { view: 'jobs' }
  | { view: 'job'; name: string }

export function parse(hash: string): Route {
  const [view, ...rest] = hash.replace(/^#\/?/, '').split('/').map(decoded)
  if (view === 'fleet') return rest[0] ? { view: 'decision', id: rest[0] } : { view: 'fleet' }
  if (view === 'jobs') return rest[0] ? { view: 'job', name: `jobs/${rest[0]}` } : { view: 'jobs' }
  return { view: 'classify' }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}
