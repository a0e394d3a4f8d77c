// The fleet on the page: up from zero and back, its decisions, and a person's word.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { begin, closeBrowser, drop, open, pictures } from './stage.mjs'

after(closeBrowser)

test('the fleet goes up from zero and back, and a decision tells why', async (scene) => {
  const system = await begin(
    scene,
    '--model',
    'stub:150ms',
    '--max-instances',
    '2',
    '--keep',
    '3s',
    '--boot-delay',
    '1s',
  )
  const fleet = await open(`${system.url}/#/fleet`)
  const { page } = fleet
  await page
    .getByRole('heading', { name: 'The fleet is asleep: no pictures, no workers.' })
    .waitFor()
  const sender = await open(system.url)
  // Looked out for beforehand: each may be over when the drop is.
  const seen = Promise.all([
    page.getByRole('heading', { name: /on the way/ }).waitFor(),
    page.getByRole('heading', { name: /at it|at work/ }).waitFor(),
    page
      .getByText(/works on a picture/)
      .first()
      .waitFor(),
  ])
  await drop(sender.page, pictures(60))
  await seen
  await sender.page.getByText('60 of 60 answered').first().waitFor()
  await page
    .getByRole('heading', { name: 'The fleet is asleep: no pictures, no workers.' })
    .waitFor()

  await page
    .getByRole('link', { name: /Started \d/ })
    .last()
    .click()
  await page.getByRole('heading', { name: 'What would have changed it' }).waitFor()
  await page
    .getByText(/^With .* and not .* for /)
    .first()
    .waitFor()
  await page.getByRole('heading', { name: 'How it reckoned' }).waitFor()
  await page
    .getByText(/start: done|launch: done/)
    .first()
    .waitFor()
  await page.getByRole('link', { name: 'Fleet', exact: false }).last().click()
  await page.getByRole('heading', { name: 'Decisions' }).waitFor()
  await sender.close()
  await fleet.close()
})

test('a pause holds until it is taken back, and both are decisions', async (scene) => {
  const system = await begin(scene, '--model', 'stub:10ms', '--max-instances', '1')
  const { page, close } = await open(`${system.url}/#/fleet`)
  await page.getByText('Pause', { exact: true }).first().click()
  await page.getByLabel('Why, for the record').first().fill('to look at it')
  await page.getByRole('button', { name: 'Pause', exact: true }).click()
  await page
    .getByText(/Paused: it starts and stops nothing, until .*to look at it/)
    .first()
    .waitFor()
  await page.getByRole('button', { name: 'Resume' }).click()
  await page.getByText('Resumed.').waitFor()
  await page
    .getByText(/Paused: it starts/)
    .first()
    .waitFor({ state: 'hidden' })
  await close()
})

test('an override starts workers and a drain lets one go', async (scene) => {
  const system = await begin(scene, '--model', 'stub:10ms', '--max-instances', '2')
  const { page, close } = await open(`${system.url}/#/fleet`)
  await page.getByText('Override', { exact: true }).first().click()
  await page.getByLabel('Workers', { exact: true }).fill('1')
  await page.getByRole('button', { name: 'Override', exact: true }).click()
  await page
    .getByText(/Overridden: exactly 1 worker/)
    .first()
    .waitFor()
  await page.getByRole('button', { name: /^Drain local-/ }).click()
  await page.getByText(/finishes what it holds, and goes/).waitFor()
  await page.getByRole('button', { name: 'Take it back' }).click()
  await page.getByText('The override is taken back.').waitFor()
  await close()
})

test('another policy is tried on a load without starting anything', async (scene) => {
  const system = await begin(scene, '--model', 'stub:10ms', '--max-instances', '1')
  const { page, close } = await open(`${system.url}/#/fleet`)
  await page.getByRole('button', { name: 'Try it' }).click()
  const table = page.getByRole('table')
  await table.getByRole('row', { name: /in force/ }).waitFor()
  await table.getByRole('row', { name: /a worker for each 5 waiting/ }).waitFor()
  await page.getByRole('img', { name: /^Workers wanted/ }).waitFor()
  assert.ok(await page.getByRole('heading', { name: /asleep/ }).isVisible())
  await close()
})

test('the stream is closed while the tab is hidden and opened again', async (scene) => {
  const system = await begin(scene, '--model', 'stub:10ms')
  const { page, close } = await open(`${system.url}/#/fleet`)
  await page.getByRole('heading', { name: /asleep/ }).waitFor()
  const streams = []
  page.on('request', (request) => {
    if (request.url().endsWith('/WatchStatus')) streams.push(request)
  })
  const over = page.waitForEvent('requestfailed', (request) =>
    request.url().endsWith('/WatchStatus'),
  )
  const look = (state) =>
    page.evaluate((state) => {
      Object.defineProperty(document, 'visibilityState', { value: state, configurable: true })
      document.dispatchEvent(new Event('visibilitychange'))
    }, state)
  await look('hidden')
  await over
  assert.equal(streams.length, 0)
  const again = page.waitForRequest(/WatchStatus/)
  await look('visible')
  await again
  await close()
})
