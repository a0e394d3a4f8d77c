// Pictures in, labels out, on the page.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { begin, closeBrowser, drop, open, pictures, sample, until } from './stage.mjs'

after(closeBrowser)

const LABELS = {
  'chelsea.png': 'tiger cat',
  'coffee.png': 'espresso',
  'rocket.jpg': 'missile',
  'flower.jpg': 'daisy',
  'china.jpg': 'palace',
}

/** How many of the counted state the progress line tells. */
async function told(page, word) {
  const line = await page.getByRole('region', { name: 'Progress' }).locator('p').textContent()
  return Number(line.match(new RegExp(`(\\d+)[^·]* ${word}`))?.[1] ?? 0)
}

test('photographs that are dropped get the right labels, one by one', async (scene) => {
  const system = await begin(scene)
  const { page, close } = await open(system.url)
  await page.evaluate(() => {
    window.arrived = []
    new MutationObserver(() => {
      for (const label of document.querySelectorAll('.board h2')) {
        if (!window.arrived.includes(label)) window.arrived.push(label)
      }
      window.steps = [...new Set([...(window.steps ?? []), window.arrived.length])]
    }).observe(document.body, { subtree: true, childList: true })
  })
  await drop(page, Object.keys(LABELS).map(sample))
  for (const [file, label] of Object.entries(LABELS)) {
    const card = page.getByRole('listitem').filter({ hasText: file })
    await card.getByRole('heading', { name: new RegExp(`^${label}`, 'i') }).waitFor()
    await card.getByText(/Answered in/).waitFor()
  }
  const steps = await page.evaluate(() => window.steps)
  assert.ok(steps.filter((count) => count > 0).length > 1, `labels came at once: ${steps}`)
  await close()
})

test('what would be refused is not sent, and says why', async (scene) => {
  const system = await begin(scene, '--model', 'stub:1ms')
  const { page, close } = await open(system.url)
  const large = Buffer.concat([sample('flower.jpg').bytes, Buffer.alloc(11 * 1024 * 1024)])
  await drop(page, [
    { name: 'large.jpg', bytes: large },
    { name: 'letter.txt', bytes: Buffer.from('Dear reader') },
    { name: 'nothing.png', bytes: Buffer.alloc(0) },
  ])
  await page.getByText(/too large: at most 10 MB/).waitFor()
  await page.getByText(/Not a picture we read/).waitFor()
  await page.getByText('This file is empty.').waitFor()
  await close()
})

test('one picture is cancelled, and then all that are left', async (scene) => {
  const system = await begin(scene, '--model', 'stub:1500ms', '--max-instances', '1')
  const { page, close } = await open(system.url)
  await drop(page, pictures(8))
  await page
    .getByText(/\d ahead|First in line|Running on/)
    .first()
    .waitFor()
  await page.getByRole('button', { name: 'Cancel picture-7.jpg' }).click()
  const card = page.getByRole('listitem').filter({ hasText: 'picture-7.jpg' })
  await card.getByText('Cancelled').waitFor()
  await page.getByRole('button', { name: 'Cancel all' }).click()
  await until(async () => (await told(page, 'cancelled')) >= 6)
  assert.equal(await told(page, 'waiting'), 0)
  await close()
})

test('a tab that is closed in the middle leaves no work behind', async (scene) => {
  const system = await begin(scene, '--model', 'stub:300ms', '--max-instances', '1')
  const looker = await open(`${system.url}/#/fleet`)
  const { page, close } = await open(system.url)
  await drop(page, pictures(40))
  await until(async () => (await told(page, 'answered')) >= 3)
  const answered = await told(page, 'answered')
  await close()
  await looker.page.getByRole('heading', { name: /nothing waits/ }).waitFor()
  const figures = looker.page.getByRole('img', { name: /^Answers a second/ })
  await figures.waitFor()
  // 37 pictures of 0.3 s would take 11 s more.
  const since = Date.now()
  await looker.page
    .getByText(/waits for work|sleeps/)
    .first()
    .waitFor()
  assert.ok(Date.now() - since < 5_000, `still at work after ${answered} answers`)
  await looker.close()
})

test('the page survives a restart of the gateway and answers every picture', async (scene) => {
  const system = await begin(scene, '--model', 'stub:400ms', '--max-instances', '1')
  const { page, close } = await open(system.url)
  await drop(page, pictures(10))
  await until(async () => (await told(page, 'answered')) >= 2)
  await system.stop('SIGKILL')
  await page.getByText(/Dunlin cannot be reached/).waitFor()
  await sleep(500)
  await system.start()
  await page.getByText('10 of 10 answered').first().waitFor()
  await until(async () => (await page.getByText(/Dunlin cannot be reached/).count()) === 0)
  await close()
})
