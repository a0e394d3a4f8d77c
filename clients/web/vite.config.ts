import { svelte } from '@sveltejs/vite-plugin-svelte'
import { defineConfig } from 'vite'

// In development the gateway runs beside: `dunlin up`, then `npm run dev`.
const GATEWAY = 'http://127.0.0.1:8000'

export default defineConfig({
  plugins: [svelte()],
  build: {
    // Browsers that know light-dark(), so that it is not rewritten.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    // Nothing inline: the gateway's content security policy allows no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { '/dunlin.v1': GATEWAY } },
})
