// Where in the page one is: after the #, so that the server needs to know one address only.

export type Route =
  | { view: 'classify' }
  | { view: 'fleet' }
  | { view: 'decision'; id: string }
  | { view: 'jobs' }
  | { view: 'job'; name: string }

export function parse(hash: string): Route {
  const [view, ...rest] = hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent)
  if (view === 'fleet') return rest[0] ? { view: 'decision', id: rest[0] } : { view: 'fleet' }
  if (view === 'jobs') return rest[0] ? { view: 'job', name: `jobs/${rest[0]}` } : { view: 'jobs' }
  return { view: 'classify' }
}

class Place {
  route = $state.raw<Route>(parse(location.hash))

  constructor() {
    addEventListener('hashchange', () => {
      this.route = parse(location.hash)
      scrollTo(0, 0)
    })
  }
}

export const place = new Place()
