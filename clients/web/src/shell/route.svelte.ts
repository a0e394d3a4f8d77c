// Where in the page one is.

import { parse, type Route } from './route'

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
