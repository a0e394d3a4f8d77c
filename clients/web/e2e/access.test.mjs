// Every view in both colour schemes and on a small screen: for everyone, and beautiful. Writes target/screens.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { closeBrowser, drop, open, pictures, System, sample, screen } from './stage.mjs'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const PHOTOGRAPHS = ['chelsea.png', 'china.jpg', 'coffee.png', 'flower.jpg', 'rocket.jpg']

let system
before(async () => {
  system = await new System('--max-instances', '2').start()
})
after(async () => {
  await closeBrowser()
  await system.end()
})

/** Opens a view and brings it into the state that is looked at. */
const VIEWS = {
  'classify-empty': async () => '#/',
  classify: async (page) => {
    await drop(page, [
      ...PHOTOGRAPHS.map(sample),
      { name: 'letter.txt', bytes: Buffer.from('Dear reader') },
    ])
    await page.getByText('5 of 6 answered').first().waitFor()
    await page
      .getByText(/Answered in|From memory in/)
      .first()
      .click()
  },
  fleet: async (page) => {
    await page.goto(`${system.url}/#/`)
    await drop(page, pictures(60))
    await page
      .getByText(/\d+ of 60 answered/)
      .first()
      .waitFor()
    await page.getByRole('link', { name: 'Fleet', exact: true }).click()
    await page
      .getByRole('link', { name: /Started/ })
      .first()
      .waitFor()
    await page.getByText('Pause', { exact: true }).first().click()
    await page.getByText('Override', { exact: true }).first().click()
    await page.getByRole('button', { name: 'Try it' }).click()
    await page.getByRole('img', { name: /^Workers wanted/ }).waitFor()
  },
  decision: async (page) => {
    await page.goto(`${system.url}/#/fleet`)
    await page
      .getByRole('link', { name: /Started/ })
      .first()
      .click()
    await page.getByRole('heading', { name: 'What would have changed it' }).waitFor()
    await page.getByText(/The whole explanation/).click()
  },
  jobs: async (page) => {
    await page.goto(`${system.url}/#/jobs`)
    const files = PHOTOGRAPHS.map((name) => ({
      name,
      mimeType: 'image/*',
      buffer: sample(name).bytes,
    }))
    await page.getByLabel('Choose pictures').setInputFiles(files)
    await page.getByRole('button', { name: 'Hand in 5 pictures' }).click()
    await page
      .getByText(/5 of 5/)
      .first()
      .waitFor()
  },
  job: async (page) => {
    await page.goto(`${system.url}/#/jobs`)
    await page
      .getByRole('link', { name: /5 pictures/ })
      .first()
      .click()
    await page.getByText(/5 of 5 answered/).waitFor()
    await page.getByRole('heading', { name: 'Latest results' }).waitFor()
  },
  key: async (page) => {
    await page.route('**/WatchStatus', (route) =>
      route.fulfill({
        status: 200,
        headers: {
          'content-type': 'application/grpc-web+proto',
          'grpc-status': '16',
          'grpc-message': 'no key',
        },
      }),
    )
    await page.reload()
    await page.getByLabel('Key', { exact: true }).waitFor()
  },
}

for (const scheme of ['light', 'dark']) {
  for (const width of [1280, 375]) {
    for (const [view, prepare] of Object.entries(VIEWS)) {
      test(`${view}, ${scheme}, ${width} px: nobody is shut out and nothing is cut off`, async () => {
        const { page, close } = await open(system.url, { scheme, width })
        await prepare(page)
        await page.evaluate(() =>
          Promise.all(
            document
              .getAnimations()
              .filter((one) => one.effect?.getTiming().iterations === 1)
              .map((one) => one.finished),
          ),
        )
        await screen(page, `${view}-${scheme}-${width}`)
        await page.evaluate(AXE)
        const { violations } = await page.evaluate(() => window.axe.run())
        const found = violations.map(
          ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`,
        )
        assert.deepEqual(found, [])
        const over = await page.evaluate(
          () => document.documentElement.scrollWidth - window.innerWidth,
        )
        assert.ok(over <= 0, `${over} px wider than the screen`)
        await close()
      })
    }
  }
}

test('everything is reached by the keyboard', async () => {
  const { page, close } = await open(system.url)
  const reached = []
  for (let press = 0; press < 8; press += 1) {
    await page.keyboard.press('Tab')
    reached.push(
      await page.evaluate(() =>
        (
          document.activeElement?.textContent ||
          document.activeElement?.closest('label')?.textContent ||
          ''
        ).trim(),
      ),
    )
  }
  for (const name of ['Go to the content', 'Classify', 'Fleet', 'Jobs', 'Choose pictures']) {
    assert.ok(
      reached.some((text) => text.includes(name)),
      `${name} is not among ${reached}`,
    )
  }
  await close()
})
