// What the scenes are played on: a real `dunlin up`, and pages of it in a headless Chromium.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { chromium } from 'playwright-core'

const ROOT = new URL('../../../', import.meta.url).pathname
export const SAMPLES = join(ROOT, 'clients/cli/samples/')
const SCREENS = join(ROOT, 'target/screens')
// Kept between runs: the first start gets the inference engine.
const DATA = join(ROOT, 'target/page-data')
const START_MS = 120_000
/** For what the page shall show. Two slow processors are enough for it. */
export const SOON_MS = 30_000

export const PROGRAM = process.env.DUNLIN_TEST_PROGRAM
if (!PROGRAM) throw new Error('set DUNLIN_TEST_PROGRAM to a dunlin program')

const BROWSER = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A system of its own, with `more` options. */
export class System {
  constructor(...more) {
    this.folder = mkdtempSync(join(tmpdir(), 'dunlin-page-'))
    this.more = more
  }

  /** Again on the same port, when it was started before. */
  async start() {
    const addresses = join(this.folder, 'addresses.json')
    rmSync(addresses, { force: true })
    const bundled = !this.more.includes('--model')
    const data = bundled ? DATA : join(this.folder, 'data')
    const ports = ['--internal-listen', '127.0.0.1:0', '--autoscaler-listen', '127.0.0.1:0']
    const options = ['--no-samples', '--data', data, '--addresses-file', addresses, '--grace', '2s']
    const listen = ['--listen', this.listen ?? '127.0.0.1:0']
    this.process = spawn(PROGRAM, ['up', ...listen, ...ports, ...options, ...this.more], {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: cleanEnvironment(),
    })
    this.ended = new Promise((resolve) => this.process.once('exit', resolve))
    await until(
      () => existsSync(addresses) && readFileSync(addresses, 'utf8').includes('}'),
      START_MS,
    )
    this.listen = JSON.parse(readFileSync(addresses, 'utf8')).public
    this.url = `http://${this.listen}`
    return this
  }

  async stop(signal = 'SIGTERM') {
    this.process.kill(signal)
    await this.ended
  }

  /** Nothing of it is left. */
  async end() {
    await this.stop('SIGKILL')
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** A system that ends with the scene. */
export async function begin(scene, ...more) {
  const system = new System(...more)
  scene.after(() => system.end())
  return system.start()
}

function cleanEnvironment() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(DUNLIN_|ORT_)/.test(name)),
  )
}

let browser
/** A page and all that went wrong on it. */
export async function open(url, { scheme = 'light', width = 1280 } = {}) {
  browser ??= await chromium.launch({
    executablePath: process.env.DUNLIN_TEST_CHROMIUM ?? '/usr/bin/chromium',
    args: BROWSER,
  })
  const context = await browser.newContext({
    colorScheme: scheme,
    viewport: { width, height: 860 },
  })
  const page = await context.newPage()
  page.setDefaultTimeout(SOON_MS)
  const wrong = []
  page.on('console', (message) => {
    // A server that is away is a scene of its own.
    if (message.type() === 'error' && !/net::ERR_/.test(message.text())) wrong.push(message.text())
  })
  page.on('pageerror', (error) => wrong.push(error.message))
  page.on('request', (request) => {
    const address = request.url()
    if (!address.startsWith(new URL(url).origin) && !address.startsWith('blob:'))
      wrong.push(`asked ${address}`)
  })
  await page.goto(url)
  return {
    page,
    /** Nothing went wrong: no error, no violation of the policy, nothing asked of others. */
    async close() {
      await context.close()
      assert.deepEqual(wrong, [])
    },
  }
}

export async function closeBrowser() {
  await browser?.close()
  browser = undefined
}

/** Drops files on the page, as a hand would. */
export async function drop(page, files) {
  const sent = files.map(({ name, bytes }) => ({ name, base64: bytes.toString('base64') }))
  await page.evaluate((files) => {
    const transfer = new DataTransfer()
    for (const { name, base64 } of files) {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))
      transfer.items.add(new File([bytes], name))
    }
    window.dispatchEvent(
      new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true }),
    )
  }, sent)
}

export function sample(name) {
  return { name, bytes: readFileSync(join(SAMPLES, name)) }
}

/** As many pictures, each with other bytes: equal ones are classified once. */
export function pictures(count) {
  const { bytes } = sample('flower.jpg')
  return Array.from({ length: count }, (_, index) => ({
    name: `picture-${index}.jpg`,
    bytes: Buffer.concat([bytes, randomBytes(8)]),
  }))
}

export async function screen(page, name) {
  await page.evaluate(() => scrollTo(0, 0))
  mkdirSync(SCREENS, { recursive: true })
  await page.screenshot({ path: join(SCREENS, `${name}.png`), fullPage: true })
}

export async function until(holds, limitMs = SOON_MS) {
  const end = Date.now() + limitMs
  while (!(await holds())) {
    assert.ok(Date.now() < end, `not within ${limitMs} ms: ${holds}`)
    await sleep(50)
  }
}
