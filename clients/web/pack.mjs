// Packs what vite built for browsers that unpack, and says what a first visit loads: npm run build.

import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

/** What a first visit may load, packed by gzip, which every browser takes (issue 6). */
const FIRST_LOAD_BYTES_MAX = 120 * 1000

const dist = new URL('dist/', import.meta.url).pathname
const files = readdirSync(dist, { recursive: true })
  .map(String)
  .filter((name) => statSync(join(dist, name)).isFile() && !/\.(br|gz)$/.test(name))
  .sort()
const page = readFileSync(join(dist, 'index.html'), 'utf8')
const first = { plain: 0, gzip: 0, brotli: 0 }

for (const name of files) {
  const plain = readFileSync(join(dist, name))
  const gzip = gzipSync(plain, { level: 9 })
  const brotli = brotliCompressSync(plain, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
      [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
    },
  })
  writeFileSync(join(dist, `${name}.gz`), gzip)
  writeFileSync(join(dist, `${name}.br`), brotli)
  if (name === 'index.html' || page.includes(name)) {
    first.plain += plain.length
    first.gzip += gzip.length
    first.brotli += brotli.length
  }
}

const kB = (bytes) => `${(bytes / 1000).toFixed(1)} kB`
console.log(
  `first load: ${kB(first.gzip)} by gzip, ${kB(first.brotli)} by brotli, ${kB(first.plain)} plain; limit ${kB(FIRST_LOAD_BYTES_MAX)}`,
)
if (first.gzip > FIRST_LOAD_BYTES_MAX) {
  console.error('the first load is over the limit: load later what a first visit does not need')
  process.exit(1)
}
